"""The bases of the wire shapes, and the types that they share."""

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

MAX_ID = 2**63 - 1  # the databases' BIGINT
MAX_FIELDS = 100
CENT = Decimal("0.01")


class Input(BaseModel):
    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _has_not_too_many_fields(cls, value: Any) -> Any:
        """To describe thousands of unknown ones would block the event loop."""
        if isinstance(value, Mapping) and len(value) > MAX_FIELDS:
            # A ValueError would be kept with its traceback, and so with the fields.
            raise PydanticCustomError(
                "too_many_fields", "Send at most {limit} fields", {"limit": MAX_FIELDS}
            )
        return value


class Output(BaseModel):
    model_config = ConfigDict(from_attributes=True)


def _normalise(amount: Decimal) -> Decimal:
    return amount.quantize(CENT) + 0  # + 0: there is no minus zero


# PostgreSQL's text cannot hold NUL.
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
Price = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=2), AfterValidator(_normalise)]
