from typing import Annotated

from fastapi import Depends

from app.accounts.service.attempts import Attempts
from app.core.about import NAME
from app.core.config import Settings
from app.core.database.unit_of_work import UnitsOfWork
from app.core.resources import Resources, ResourcesDep
from app.core.security.seals import Seals
from app.features.passkeys.repository import Passkeys
from app.features.passkeys.service.challenges import Challenges
from app.features.passkeys.service.passkeys import PasskeyService


def build_service(resources: Resources) -> PasskeyService:
    # The server starts faster without the library.
    from app.features.passkeys.service.ceremony import Ceremonies

    settings, accounts = resources.settings, resources.accounts
    keys = [each for each in (settings.signing_key, settings.previous_signing_key) if each]
    host, origin = host_and_origin(settings)
    units = UnitsOfWork(Passkeys, resources.database)
    return PasskeyService(
        units,
        Ceremonies(host, NAME, origin),
        Challenges(units, Seals("passkey challenge", *keys)),
        accounts.auth,
        accounts.browsers,
        accounts.confirmations,
        accounts.sign_in_methods,
        accounts.passwords,
        accounts.codes,
        Attempts(resources.rate_limiter, settings.rate_limit_login),
        accounts.security_events,
    )


def host_and_origin(settings: Settings) -> tuple[str, str]:
    """Return the host that passkeys are bound to, and the origin that may use them.

    A passkey is never of an address, so that 127.0.0.1 becomes localhost.
    """
    host, origin = settings.host_name, settings.public_url
    if host != "127.0.0.1":
        return host, origin
    return "localhost", origin.replace(host, "localhost", 1)


async def get_passkey_service(resources: ResourcesDep) -> PasskeyService:
    return await resources.keep(build_service)


PasskeyServiceDep = Annotated[PasskeyService, Depends(get_passkey_service)]
