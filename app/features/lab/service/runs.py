"""One run at a time, for any number of people who watch it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing

from app.core.config import Settings
from app.core.errors import AppError, Conflict
from app.features.lab.schemas import (
    Event,
    Failed,
    Measured,
    Measurement,
    Plan,
    Progress,
    Results,
)
from app.features.lab.service.runner import measure

logger = logging.getLogger("app.lab")


class Run:
    """Goes on when nobody watches any more. Who comes late sees it from its beginning on."""

    def __init__(self, settings: Settings, plan: Plan) -> None:
        self.plan = plan
        self._events: list[Event] = []
        self._news = asyncio.Condition()
        self.task = asyncio.create_task(self._follow(settings, plan))

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
        """None before the first measurement begins."""
        return next((each for each in reversed(self._events) if isinstance(each, Progress)), None)

    @property
    def measurements(self) -> list[Measurement]:
        return [each.measurement for each in self._events if isinstance(each, Measured)]

    def stop(self) -> None:
        """Once: what tidies up after it must not be given up too."""
        if not self.is_over and not self.task.cancelling():
            self.task.cancel()

    async def watch(self) -> AsyncIterator[Event]:
        """To its end, which is its `Results` or that it has `Failed`."""
        seen = 0
        while True:
            async with self._news:
                while len(self._events) == seen:
                    await self._news.wait()
            event = self._events[seen]
            yield event
            if isinstance(event, Results | Failed):
                return
            seen += 1

    async def _follow(self, settings: Settings, plan: Plan) -> None:
        failure = "The run was canceled."
        try:
            async with aclosing(measure(settings, plan)) as events:
                async for event in events:
                    await self._tell(event)
        except AppError as error:
            failure = error.detail
        except Exception:
            logger.exception("The lab's run failed")
            failure = "The run failed. See the server log for the reason."
        finally:
            if not isinstance(self.last, Results):
                await self._tell(Failed(detail=failure))

    async def _tell(self, event: Event) -> None:
        async with self._news:
            self._events.append(event)
            self._news.notify_all()


class Runs:
    """Those of this process. On PostgreSQL only one process of all has a run: see
    `app.features.lab.repository`."""

    def __init__(self, settings: Settings, results: Results) -> None:
        self._settings = settings
        self._results = results  # until there are newer ones
        self.current: Run | None = None  # or the last one

    @property
    def is_running(self) -> bool:
        return self.current is not None and not self.current.is_over

    @property
    def results(self) -> Results:
        """The newest."""
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
        """Returns when nothing is left of a run."""
        self.stop()
        if self.current:
            await asyncio.wait([self.current.task])
