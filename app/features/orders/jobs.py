"""The slice's background jobs. They carry ids, and may run twice: see `app/core/jobs/jobs.py`."""

from starlette.datastructures import State

from app.features.orders.dependencies import build_mails


async def send_order_mail(state: State, order_id: int) -> None:
    await build_mails(state).send_placed(order_id)


JOBS = [send_order_mail]
