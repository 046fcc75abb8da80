"""The bases of the wire shapes, and the types that they share."""

from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

CENT = Decimal("0.01")


class Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Output(BaseModel):
    model_config = ConfigDict(from_attributes=True)


def _normalise(amount: Decimal) -> Decimal:
    return amount.quantize(CENT) + 0  # + 0: there is no minus zero


# PostgreSQL's text cannot hold NUL.
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
Price = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=2), AfterValidator(_normalise)]
