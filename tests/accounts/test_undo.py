"""The copies of deleted rows."""

from datetime import UTC, datetime

from fastapi import FastAPI

from app.accounts.undo import UndoRepository
from app.core.http.idempotency_records import IdempotencyRecord
from tests.conftest import Person


async def test_values_of_all_types_are_copied(app: FastAPI, ann: Person) -> None:
    row = {
        "user_id": ann.id,
        "key": "가 \N{OWL}",
        "fingerprint": bytes(range(256)),
        "status": 201,
        "headers": {"a": [1, None]},
        "body": b"",
        "expires_at": datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    }
    async with app.state.resources.database.transaction() as session:
        undo_id = await UndoRepository(session).save(ann.id, IdempotencyRecord, [row])
    async with app.state.resources.database.transaction() as session:
        undo = UndoRepository(session)
        assert await undo.take(undo_id, ann.id, IdempotencyRecord) == [row]
        assert await undo.take(undo_id, ann.id, IdempotencyRecord) == []


async def test_copies_fit_a_table_that_has_changed(app: FastAPI, ann: Person) -> None:
    async with app.state.resources.database.transaction() as session:
        undo = UndoRepository(session)
        undo_id = await undo.save(ann.id, IdempotencyRecord, [{"key": "a", "removed": 1}])
        assert await undo.take(undo_id, ann.id, IdempotencyRecord) == [{"key": "a"}]
