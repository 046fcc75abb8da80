"""Clients of the live feed of items."""

from functools import partial

from tests import server, sockets

LIVE = "/api/v1/items/live"
connected = partial(sockets.connected, path=LIVE)
connecting = partial(sockets.connecting, path=LIVE)
refused = partial(sockets.refused, path=LIVE)
listen = partial(server.listen, path=LIVE)
live_url = partial(server.live_url, path=LIVE)
