"""The application with one more route, `POST /items/queued`: it creates an item, and queues a job.

With BENCH_WITHOUT_WEBHOOKS in the environment, webhooks are not looked up.
"""

import os
from datetime import timedelta

from app.core.database.dependencies import SessionDep
from app.core.jobs.queue import JobQueue
from app.discovery import optional
from app.features.items.dependencies import WriteItems
from app.features.items.router import router
from app.features.items.schemas import ItemCreate, ItemRead
from app.main import create_app

LATER = timedelta(days=1)  # The job is not run while this is measured.


@router.post("/queued", status_code=201)
async def create_item_and_job(data: ItemCreate, items: WriteItems, session: SessionDep) -> ItemRead:
    await JobQueue(session).enqueue("send_notice", "a", "ann@example.com", delay=LATER)
    return await items.create(data)


if os.environ.get("BENCH_WITHOUT_WEBHOOKS") and (jobs := optional("app.features.webhooks.jobs")):
    jobs.BEFORE_COMMIT.clear()

app = create_app()
