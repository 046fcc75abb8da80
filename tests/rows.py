"""Rows of several tables, with which migrations are tested."""

ROWS = (
    """INSERT INTO users (id, email, email_key, password_hash, is_active, is_superuser,
                          created_at, updated_at)
       VALUES (1, 'a@b.c', 'a@b.c', 'x', true, false, '2026-01-01', '2026-01-01')""",
    """INSERT INTO auth_sessions (id, user_id, scope, created_at, last_used_at, expires_at)
       VALUES ('00000000000000000000000000000001', 1, '', '2026-01-01', '2026-01-01',
               '2026-01-01')""",
    """INSERT INTO refresh_tokens (token_hash, session_id)
       VALUES ('x', '00000000000000000000000000000001')""",
    """INSERT INTO items (id, name, price, is_offer, owner_id, version, created_at, updated_at)
       VALUES (1, 'Lamp', 1, false, 1, 1, '2026-01-01', '2026-01-01'),
              (2, 'Desk', 2, false, 1, 1, '2026-01-01', '2026-01-01')""",
    """INSERT INTO orders (id, number, status, placed_at, owner_id, version, created_at, updated_at)
       VALUES (1, 1, 'placed', '2026-01-01', 1, 2, '2026-01-01', '2026-01-01')""",
    """INSERT INTO order_lines (id, order_id, item_id, position, quantity, unit_price, owner_id)
       VALUES (1, 1, 1, 0, 3, 1, 1)""",
)
