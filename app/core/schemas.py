"""Base classes of the API's schemas, and field types that they share."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

MAX_ID = 2**63 - 1  # the largest BIGINT
MAX_FIELDS = 100
CENT = Decimal("0.01")


class Input(BaseModel):
    """The base of schemas that clients send. Unknown fields are errors."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _limit_fields(cls, value: Any) -> Any:
        """Refuse too many fields: describing thousands of errors would block the event loop."""
        if isinstance(value, Mapping) and len(value) > MAX_FIELDS:
            # Pydantic would keep a ValueError with its traceback, and so with all fields.
            raise PydanticCustomError(
                "too_many_fields", "Send at most {limit} fields", {"limit": MAX_FIELDS}
            )
        return value


class Output(BaseModel):
    """The base of schemas that the API returns."""

    model_config = ConfigDict(from_attributes=True)


def _quantize(amount: Decimal) -> Decimal:
    return amount.quantize(CENT) + 0  # Adding 0 turns minus zero into zero.


# PostgreSQL cannot store NUL in text.
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
Price = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=2), AfterValidator(_quantize)]
