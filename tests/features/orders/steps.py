"""Steps that the tests of orders share."""

from typing import Any

from tests.conftest import Person

ORDERS = "/api/v1/orders"


async def make_order(person: Person, *lines: tuple[dict[str, Any], int], **values: Any) -> Any:
    """Create a draft with items and quantities."""
    sent = [{"item_id": item["id"], "quantity": quantity} for item, quantity in lines]
    response = await person.client.post(ORDERS, json={"lines": sent} | values)
    assert response.status_code == 201, response.text
    return response.json()


async def read_order(person: Person, order_id: int) -> Any:
    response = await person.client.get(f"{ORDERS}/{order_id}")
    assert response.status_code == 200, response.text
    return response.json()


async def change_order(person: Person, order_id: int, action: str) -> Any:
    """Place or ship an order."""
    response = await person.client.post(f"{ORDERS}/{order_id}/{action}")
    assert response.status_code == 200, response.text
    return response.json()
