"""One run at a time, for any number of people who watch it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing

from app.core.config import Settings
from app.core.errors import AppError, Conflict
from app.features.lab.schemas import Event, Failed, Plan, Results
from app.features.lab.service.runner import measure

logger = logging.getLogger("app.lab")


class Run:
    """Goes on when nobody watches any more. Who comes late sees it from its beginning on."""

    def __init__(self, settings: Settings, plan: Plan) -> None:
        self._events: list[Event] = []
        self._news = asyncio.Condition()
        self.task = asyncio.create_task(self._follow(settings, plan))

    @property
    def last(self) -> Event | None:
        return self._events[-1] if self._events else None

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
        failure = "The run was given up."
        try:
            async with aclosing(measure(settings, plan)) as events:
                async for event in events:
                    await self._tell(event)
        except AppError as error:
            failure = error.detail
        except Exception:
            logger.exception("The lab's run failed")
            failure = "The run failed. The server's log says why."
        finally:
            if not isinstance(self.last, Results):
                await self._tell(Failed(detail=failure))

    async def _tell(self, event: Event) -> None:
        async with self._news:
            self._events.append(event)
            self._news.notify_all()


class Runs:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.current: Run | None = None  # or the last one

    def start(self, plan: Plan) -> Run:
        if self.current and not self.current.task.done():
            raise Conflict("The lab is running already.")
        self.current = Run(self._settings, plan)
        return self.current
