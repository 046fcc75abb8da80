"""Background jobs of orders. Their arguments are ids, and a job can run twice."""

from app.core.resources import Resources
from app.core.translation import ENGLISH, use_language
from app.features.orders.dependencies import build_mails


async def send_order_mail(resources: Resources, order_id: int, language: str = ENGLISH) -> None:
    with use_language(language):
        await build_mails(resources).send_placed(order_id)


JOBS = [send_order_mail]
