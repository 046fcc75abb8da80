"""The owner gets an email after the commit that places an order."""

from fastapi import FastAPI

from app.core.jobs.queue import JobQueue
from tests.accounts.conftest import Outbox
from tests.conftest import PASSWORD, Person
from tests.features.items.steps import make_item
from tests.features.orders.steps import ORDERS, change_order, make_order


async def test_placed_order_is_mailed_to_its_owner_once(
    outbox: Outbox, ann: Person, root: Person
) -> None:
    order = await make_order(ann, (await make_item(ann), 2))
    await ann.client.patch(f"{ORDERS}/{order['id']}", json={"note": "Late"})
    assert await outbox.to() == []
    placed = await change_order(root, order["id"], "place")
    await ann.client.post(f"{ORDERS}/{order['id']}/place")
    await change_order(root, order["id"], "ship")
    assert await outbox.to() == [(ann.email, "order_placed")]
    _, _, context = outbox.sent[0]
    assert context["link"] == f"http://127.0.0.1:8000/orders/{order['id']}"
    assert (context["order"].number, str(context["order"].total)) == (1, placed["total"])


async def test_order_that_is_not_placed_is_not_mailed(outbox: Outbox, ann: Person) -> None:
    empty, order = await make_order(ann), await make_order(ann, (await make_item(ann), 2))
    headers = {"If-Match": '"7"'}
    for order_id, status in ((empty["id"], 409), (order["id"], 412), (999, 404)):
        url = f"{ORDERS}/{order_id}/place"
        response = await ann.client.post(url, headers=headers if status == 412 else {})
        assert response.status_code == status
    assert await outbox.to() == []


async def test_mail_about_an_order_of_a_deleted_account_is_not_sent(
    app: FastAPI, outbox: Outbox, ann: Person
) -> None:
    order = await make_order(ann, (await make_item(ann), 2))
    body = {"current_password": PASSWORD}
    await ann.client.request("DELETE", "/api/v1/users/me", json=body)
    async with app.state.resources.database.transaction() as session:
        await JobQueue(session).enqueue("send_order_mail", order["id"])
    assert await outbox.to() == []


async def test_draft_with_the_id_of_a_deleted_order_is_not_mailed(
    app: FastAPI, outbox: Outbox, ann: Person
) -> None:
    """The job of the deleted order may run after SQLite has given its id to another one."""
    draft = await make_order(ann, (await make_item(ann), 2))
    async with app.state.resources.database.transaction() as session:
        await JobQueue(session).enqueue("send_order_mail", draft["id"])
    assert await outbox.to() == []


async def test_mail_names_the_lines_and_the_total(
    app: FastAPI, outbox: Outbox, ann: Person
) -> None:
    lamp, desk = await make_item(ann, name="<Lamp>"), await make_item(ann, price="120")
    order = await make_order(ann, (lamp, 2), (desk, 1))
    await change_order(ann, order["id"], "place")
    await outbox.settle()
    ((to, template, context),) = outbox.sent
    message = app.state.resources.mailer._compose(to, template, context)
    assert message["Subject"] == "Order 1 is placed"
    text, html = (part.get_content() for part in message.iter_parts())
    assert "2 \u00d7 <Lamp> at $19.99: $39.98\n" in text
    assert "Total: $159.98\n" in text
    assert context["link"] in text
    assert "2 \u00d7 &lt;Lamp&gt; at $19.99: $39.98" in html
    assert "\n\n\n" not in text
