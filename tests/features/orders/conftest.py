from tests.accounts.conftest import outbox

__all__ = ["outbox"]
