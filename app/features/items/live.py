from typing import Annotated

from fastapi import APIRouter, Security, WebSocket

from app.accounts.dependencies import get_live_principal
from app.core.realtime.sockets import SocketsDep
from app.core.security.principal import Principal
from app.features.items.events import ItemEvent

router = APIRouter(prefix="/items")

ItemsWatcher = Annotated[Principal, Security(get_live_principal, scopes=["items:read"])]


@router.websocket("/live")
async def watch_items(websocket: WebSocket, principal: ItemsWatcher, sockets: SocketsDep) -> None:
    """Receive the changes of your items as they are committed.

    Connect first, then list the items: no change is missed, but one can be sent twice,
    or two in the wrong order: the lower version is older, and a deletion follows the change
    of its version. A restored item is created again, with a higher version.
    """
    await sockets.serve(websocket, principal, ItemEvent.topic_of(principal.user_id))
