"""The CPU time, the memory and the CPU core of a process on Linux."""

import os
import sys
from functools import cache
from pathlib import Path

from bench.errors import BenchError

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@cache  # this process is pinned later, and then sees one core
def cores() -> tuple[int, int]:
    """Return a core for the server, and one for its load: PostgreSQL and wrk."""
    if sys.platform != "linux":
        raise BenchError("The benchmark reads /proc and pins processes to cores: it needs Linux.")
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        raise BenchError("The benchmark needs two cores: one for the server, one for its load.")
    return available[0], available[1]


def pin(pid: int, core: int) -> bool:
    """Pin a process to a core. Return False without permission.

    A process that has ended needs no pinning.
    """
    try:
        os.sched_setaffinity(pid, {core})
    except ProcessLookupError:
        pass
    except PermissionError:
        return False
    return True


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of all threads, in user and system mode, in steps of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES / 1e6
