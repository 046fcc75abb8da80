import asyncio
from pathlib import Path

from app.core.jobs.runner import Job
from app.resources import Resources
from tests.waiting import eventually_async


async def greet(resources: Resources, name: str, number: int) -> None:
    await resources.mailer.send(f"{name}@example.com", "greeting", name=name, token=number)


async def note(resources: Resources, path: str) -> None:
    """Append a line to the file, wait for `release`, and append another line."""
    write(path, "started")
    await eventually_async(lambda: asyncio.to_thread(release_file(path).exists))
    write(path, "done")


def release(path: Path) -> None:
    release_file(path).touch()


def release_file(path: Path | str) -> Path:
    return Path(f"{path}.release")


def write(path: str, line: str) -> None:
    with Path(path).open("a") as file:
        file.write(f"{line}\n")


JOBS: list[Job] = [greet, note]
