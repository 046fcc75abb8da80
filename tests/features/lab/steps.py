"""Steps that the tests of the lab share."""

import asyncio
from collections.abc import AsyncGenerator

from app.features.lab.schemas import Event, Progress

PROGRESS = Progress(step="step1", operation="items", clients=1, done=0, total=8)


class Measure:
    """A measurement that reports its progress, waits, and then fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.may_continue = asyncio.Event()
        self.is_canceled = False

    async def __call__(self, *_: object) -> AsyncGenerator[Event, None]:
        try:
            yield PROGRESS
            await self.may_continue.wait()
            raise self.error
        except asyncio.CancelledError:
            self.is_canceled = True
            raise
