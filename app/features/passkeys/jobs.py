"""Background jobs of passkeys. A job can run twice."""

from app.core.jobs.schedule import scheduled
from app.core.resources import Resources
from app.features.passkeys.dependencies import get_passkey_service


@scheduled("50 * * * *")
async def clean_up_passkey_challenges(resources: Resources) -> None:
    """Delete the used challenges that have expired."""
    await (await get_passkey_service(resources)).clean_up()


JOBS = [clean_up_passkey_challenges]
