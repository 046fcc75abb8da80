"""Runs of the lab: one at a time, with any number of clients that watch it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing

from app.core.config import Settings
from app.core.errors import AppError, Conflict
from app.core.translation import mark
from app.features.lab.schemas import (
    Event,
    Failed,
    Measurement,
    MeasurementDone,
    Plan,
    Progress,
    Results,
)
from app.features.lab.service.runner import measure

logger = logging.getLogger("app.lab")


class Run:
    """A run that continues even if no client watches it. Each client receives all its events."""

    def __init__(self, settings: Settings, plan: Plan) -> None:
        self.plan = plan
        self._events: list[Event] = []
        self._has_events = asyncio.Condition()
        self.task = asyncio.create_task(self._run(settings, plan))

    @property
    def last(self) -> Event | None:
        return self._events[-1] if self._events else None

    @property
    def is_over(self) -> bool:
        return isinstance(self.last, Results | Failed)

    @property
    def failure(self) -> str | None:
        return self.last.detail if isinstance(self.last, Failed) else None

    @property
    def progress(self) -> Progress | None:
        """Return the latest progress, or None before the first measurement starts."""
        return next((each for each in reversed(self._events) if isinstance(each, Progress)), None)

    @property
    def measurements(self) -> list[Measurement]:
        return [each.measurement for each in self._events if isinstance(each, MeasurementDone)]

    def stop(self) -> None:
        """Cancel the run, but only once, so that its cleanup is not canceled."""
        if not self.is_over and not self.task.cancelling():
            self.task.cancel()

    async def watch(self) -> AsyncIterator[Event]:
        """Yield all events of the run. The last one is its `Results`, or `Failed`."""
        position = 0
        while True:
            async with self._has_events:
                while len(self._events) == position:
                    await self._has_events.wait()
            event = self._events[position]
            yield event
            if isinstance(event, Results | Failed):
                return
            position += 1

    async def _run(self, settings: Settings, plan: Plan) -> None:
        failure = mark("The run was canceled.")
        try:
            async with aclosing(measure(settings, plan)) as events:
                async for event in events:
                    await self._add(event)
        except AppError as error:
            failure = error.detail
        except Exception:
            logger.exception("The lab's run failed")
            failure = mark("The run failed. See the server log for the reason.")
        finally:
            if not isinstance(self.last, Results):
                await self._add(Failed(detail=failure))

    async def _add(self, event: Event) -> None:
        async with self._has_events:
            self._events.append(event)
            self._has_events.notify_all()


class Runs:
    """The runs of this process.

    On PostgreSQL only one process at a time can have a run: see `app.features.lab.repository`.
    """

    def __init__(self, settings: Settings, results: Results) -> None:
        self._settings = settings
        self._results = results  # until a run has newer ones
        self.current: Run | None = None  # or the latest one

    @property
    def is_running(self) -> bool:
        return self.current is not None and not self.current.is_over

    @property
    def results(self) -> Results:
        """Return the newest results."""
        if self.current and isinstance(self.current.last, Results):
            return self.current.last
        return self._results

    def start(self, plan: Plan) -> Run:
        if self.current and not self.current.task.done():
            raise Conflict("The lab is running already.")
        self._results = self.results
        self.current = Run(self._settings, plan)
        return self.current

    def stop(self) -> None:
        if self.current:
            self.current.stop()

    async def close(self) -> None:
        """Stop the run, and wait until its cleanup is done."""
        self.stop()
        if self.current:
            await asyncio.wait([self.current.task])
