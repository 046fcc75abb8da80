"""The programs that write code, such as Alembic and ruff, and signals that stop them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

PROGRAMS = Path(sys.executable).parent


def run(root: Path, database_url: str, program: str, *arguments: str, check: bool = True) -> int:
    """Run a program of the virtual environment in a new process, which has the models of now."""
    with postponed_signals():
        return subprocess.run(
            [PROGRAMS / program, *arguments],
            cwd=root,
            env=os.environ | {"DATABASE_URL": database_url, "PYTHONPATH": str(root)},
            check=check,
            capture_output=True,
            text=True,
        ).returncode


@contextmanager
def interruptible() -> Iterator[None]:
    """Leave the block on SIGTERM as on Ctrl+C, so that what was begun is deleted."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def postponed_signals() -> Iterator[None]:
    """Let the block end first: a program that still writes files is in the way of deleting them."""
    received = list[signal.Signals]()

    def postpone(number: int, frame: FrameType | None) -> None:
        received.append(signal.Signals(number))

    numbers = [signal.SIGINT, signal.SIGTERM]
    before = [signal.signal(number, postpone) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
        for number in received:
            signal.raise_signal(number)
