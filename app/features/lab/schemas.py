from datetime import datetime
from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import MISSING, Field

from app.core.schemas import MAX_ID, Input, Output, Price, Text

Name = Annotated[str, Text(min_length=1, max_length=255), Field(examples=["Lamp"])]


class ItemCreate(Input):
    name: Name
    price: Price
    owner_id: int = Field(ge=1, le=MAX_ID)


class ItemUpdate(Input):
    """The fields to change. Omitted fields stay as they are."""

    name: Name | MISSING = MISSING
    price: Price | MISSING = MISSING


class OwnerRead(Output):
    id: int
    email: str


class ItemLine(Output):
    id: int
    name: str
    price: Decimal


class ItemRead(ItemLine):
    owner: OwnerRead


class OwnerItems(OwnerRead):
    """A row of the report."""

    items: list[ItemLine]


class ServerOptions(Input):
    """The options of the server process.

    They are passed in an environment variable, since other users of the machine can read a command
    line, and the database URL can contain a password.
    """

    VARIABLE: ClassVar = "LAB_SERVER"

    database_url: str
    query_ms: float = 0
    pool_size: int = 10
    thread_limit: int = 40
    port: int = 0


STEPS = {"step1": "sync", "step2": "trap", "step3": "bridge", "step4": "async"}
Operation = Literal["items", "report"]


class Plan(Input):
    """What `app lab run` measures: each step under each number of clients."""

    seconds: float = Field(default=5, gt=0, le=60)
    clients: list[Annotated[int, Field(ge=1, le=500)]] = Field(
        default=[1, 10, 100], min_length=1, max_length=5
    )
    query_ms: float = Field(default=20, ge=0, le=1000)

    @property
    def rounds(self) -> list[tuple[Operation, int]]:
        return [*(("items", clients) for clients in self.clients), ("report", 1)]


class Measurement(Output):
    step: str
    operation: Operation
    clients: int
    queries: int = Field(description="The number of queries of one request.")
    requests_per_second: float
    p50_ms: float | None
    p99_ms: float | None
    light_p99_ms: float | None = Field(description="The latency of the light endpoint meanwhile.")
    loop_lag_ms: float
    threads: int
    errors: int


class Progress(Output):
    kind: Literal["progress"] = "progress"
    step: str
    operation: Operation
    clients: int
    done: int
    total: int


class MeasurementDone(Output):
    kind: Literal["measured"] = "measured"
    measurement: Measurement


class Results(Output):
    """All measurements of a run, and the machine that they were made on."""

    kind: Literal["results"] = "results"
    measured_at: datetime
    machine: dict[str, str | int]
    plan: Plan
    measurements: list[Measurement]


class Failed(Output):
    kind: Literal["failed"] = "failed"
    detail: str


Event = Progress | MeasurementDone | Results | Failed
