import asyncio
from pathlib import Path

from starlette.datastructures import State


async def greet(state: State, name: str, number: int) -> None:
    await state.mailer.send(f"{name}@example.com", "greeting", name=name, token=number)


async def note(state: State, path: str, milliseconds: int) -> None:
    """Adds a line to the file at its start, and another at its end."""
    write(path, "started")
    await asyncio.sleep(milliseconds / 1000)
    write(path, "done")


def write(path: str, line: str) -> None:
    with Path(path).open("a") as file:
        file.write(f"{line}\n")


JOBS = [greet, note]
