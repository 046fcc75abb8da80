import asyncio
from pathlib import Path

from app.core.jobs.runner import Job
from app.resources import Resources
from tests.waiting import eventually_async


async def greet(resources: Resources, name: str, number: int) -> None:
    await resources.mailer.send(f"{name}@example.com", "greeting", name=name, token=number)


async def note(resources: Resources, path: str) -> None:
    """Adds a line to the file at its start, and another at its end, for which there has to be a
    file beside it: `may_end` makes it."""
    write(path, "started")
    await eventually_async(lambda: asyncio.to_thread(sign(path).exists))
    write(path, "done")


def may_end(path: Path) -> None:
    sign(path).touch()


def sign(path: Path | str) -> Path:
    return Path(f"{path}.may_end")


def write(path: str, line: str) -> None:
    with Path(path).open("a") as file:
        file.write(f"{line}\n")


JOBS: list[Job] = [greet, note]
