"""The migration of the orders' tables, and their constraints."""

import sqlite3

import psycopg
import pytest

from tests.databases import Databases, alembic
from tests.rows import ROWS

BEFORE = "c41f7a9e02b6"
REFUSED = (sqlite3.IntegrityError, psycopg.errors.IntegrityError)


def test_migration_of_orders_can_be_reverted_and_repeated(
    databases: Databases, own_database_url: str
) -> None:
    databases.execute(own_database_url, *ROWS)
    for _ in range(2):
        alembic(own_database_url, "downgrade", BEFORE)
        alembic(own_database_url, "upgrade", "head")
    databases.execute(own_database_url, *ROWS[-2:])
    assert "No new upgrade operations detected" in alembic(own_database_url, "check")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE orders SET status = 'lost'",
        "UPDATE orders SET status = 'PLACED'",
        "UPDATE orders SET status = 'draft'",  # It has placed_at.
        "UPDATE orders SET placed_at = NULL",
        "UPDATE orders SET number = 0",
        "UPDATE order_lines SET quantity = 0",
        "UPDATE order_lines SET quantity = 1001",
        "UPDATE order_lines SET unit_price = -1",
        "UPDATE order_lines SET item_id = 99",
        "DELETE FROM items WHERE id = 1",
    ],
)
def test_inconsistent_row_is_refused_by_the_database(
    databases: Databases, own_database_url: str, change: str
) -> None:
    enforce = "PRAGMA foreign_keys = ON" if "sqlite" in own_database_url else "SELECT 1"
    databases.execute(own_database_url, *ROWS)
    with pytest.raises(REFUSED):
        databases.execute(own_database_url, enforce, change)


def test_deleted_account_deletes_its_orders_in_one_statement(
    databases: Databases, own_database_url: str
) -> None:
    enforce = "PRAGMA foreign_keys = ON" if "sqlite" in own_database_url else "SELECT 1"
    databases.execute(own_database_url, *ROWS)
    databases.execute(own_database_url, enforce, "DELETE FROM users")
