"""The part of `app auth renew-key` that is for webhooks."""

import typer

from app.core.resources import Resources
from app.features.webhooks.dependencies import build_deliveries

cli = typer.Typer()


async def renew_webhook_secrets(resources: Resources) -> tuple[int, int]:
    return await build_deliveries(resources).renew_seals()


RENEW_SEALS = [renew_webhook_secrets]
