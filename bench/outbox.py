"""`python -m bench.outbox`: run jobs that do nothing, until SIGTERM.

With `--enqueue COUNT` it queues that number of them. With `--no-run` it does only that, for another
process to run them. `bench.jobs` measures it.
"""

import asyncio
import signal
import sys

from app.core.config import get_settings
from app.core.jobs.queue import Call, JobQueue
from app.core.jobs.runner import JobRunner
from app.resources import Resources, app_resources

READY, QUEUED = "ready", "queued"


async def do_nothing(resources: Resources, number: int) -> None: ...


async def main(count: int, *, runs: bool) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with app_resources(get_settings()) as resources:
        runner = JobRunner([do_nothing], resources.database, resources.broadcast)
        runner.resources = resources
        if runs:
            runner.start()
        print(READY, flush=True)
        if count:
            async with resources.database.transaction() as session:
                calls = (Call([number]) for number in range(count))
                await JobQueue(session).enqueue_many(do_nothing.__name__, calls)
            print(QUEUED, flush=True)
        if runs:
            await stop.wait()
            await runner.close()


if __name__ == "__main__":
    arguments = sys.argv[1:]
    number = int(arguments[arguments.index("--enqueue") + 1]) if "--enqueue" in arguments else 0
    asyncio.run(main(number, runs="--no-run" not in arguments))
