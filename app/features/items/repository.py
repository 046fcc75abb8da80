from app.accounts.ownership import OwnedRepository
from app.core.database.filters import at_least, at_most, contains, equals
from app.features.items.models import Item
from app.features.items.schemas import ItemRead


class ItemRepository(OwnedRepository[Item, ItemRead]):
    """The items of the principal. The scope `items:all` adds those of all users."""

    model = Item
    schema = ItemRead
    filters = {
        "q": contains(Item.name, Item.description),
        "min_price": at_least(Item.price),
        "max_price": at_most(Item.price),
        "is_offer": equals(Item.is_offer),
        "owner_id": equals(Item.owner_id),
    }
