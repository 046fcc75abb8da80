"""The list of security events, their deletion, and the recording of failures."""

import hmac
import logging
from datetime import timedelta

from limits import RateLimitItemPerMinute

from app.accounts.models import Outcome
from app.accounts.repository import Accounts
from app.accounts.schemas import SecurityEventQuery, SecurityEventRead
from app.core.database.models import utc_now
from app.core.database.pagination import Cursors, Page, Sort
from app.core.database.unit_of_work import UnitsOfWork
from app.core.errors import TooManyRequests, Unavailable
from app.core.security.client import request_origin
from app.core.security.principal import Principal
from app.core.security.rate_limit import RateLimiter

# Of each kind, in each process. A flood fills neither the table nor the pool.
MAX_FAILURES_OF_A_NETWORK = 10
MAX_FAILURES = 30
REPORTS = RateLimitItemPerMinute(1)
logger = logging.getLogger("app.accounts")


class SecurityEventService:
    """Lists events and records failures. The services record successes in their transactions.

    A failure has no transaction, so that it is recorded in one of its own. The others of a minute
    are not recorded once there are too many.
    """

    def __init__(
        self, accounts: UnitsOfWork[Accounts], cursors: Cursors, *, key: bytes, lifetime: timedelta
    ) -> None:
        self._accounts = accounts
        self._cursors = cursors
        self._key = key
        self._lifetime = lifetime
        self._counts = RateLimiter(None, key)
        self._by_network = RateLimitItemPerMinute(MAX_FAILURES_OF_A_NETWORK)
        self._in_all = RateLimitItemPerMinute(MAX_FAILURES)

    async def list(
        self, principal: Principal, query: SecurityEventQuery
    ) -> Page[SecurityEventRead]:
        """Return a page of the principal's own events."""
        sort, user_id = Sort(query.sort), principal.user_id
        after = self._cursors.read(query.cursor, sort)
        async with self._accounts.reading() as accounts:
            events = await accounts.security_events.list(user_id, sort, after, query.limit + 1)
            total = await accounts.security_events.total(user_id) if query.with_total else None
        found = [SecurityEventRead.for_owner(event) for event in events]
        return self._cursors.page(Page[SecurityEventRead], found, query.limit, sort, total)

    async def record_failure(
        self, kind: str, *, user_id: int | None = None, email_key: str | None = None
    ) -> None:
        """Record a failure for a user, or for the user who has an address, if there is one."""
        if not await self._is_admitted(kind):
            return
        try:
            async with self._accounts.transaction() as accounts:
                email_hash = None
                if email_key is not None:
                    user = await accounts.users.get_by_email(email_key)
                    user_id = user.id if user else None
                    email_hash = None if user else self._hash(email_key)
                accounts.security_events.record(
                    kind, user_id, outcome=Outcome.FAILURE, email_hash=email_hash
                )
        except Unavailable as error:  # The client gets the failure that it caused.
            logger.warning("A failure is not recorded (%s): %s", kind, error)

    async def clean_up(self) -> int:
        """Delete some of the events that are old enough, and return their number."""
        async with self._accounts.transaction() as accounts:
            return await accounts.security_events.clean_up(utc_now() - self._lifetime)

    async def _is_admitted(self, kind: str) -> bool:
        network = request_origin().network or ""
        try:
            await self._counts.hit_network("failures of a network", self._by_network, network, kind)
            await self._counts.hit("failures", self._in_all, kind)
        except TooManyRequests:
            if await self._is_first(kind):
                logger.warning(
                    "Too many failures (%s): the others of this minute are not recorded", kind
                )
            return False
        return True

    async def _is_first(self, kind: str) -> bool:
        """Return whether no other failure of the minute was reported as left out."""
        try:
            await self._counts.hit("reports", REPORTS, kind)
        except TooManyRequests:
            return False
        return True

    def _hash(self, email_key: str) -> str:
        """Return a keyed hash, so that readers of the table cannot guess the address."""
        return hmac.digest(self._key, email_key.encode(), "sha256").hex()
