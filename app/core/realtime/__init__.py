"""Realtime: committed events are published to the WebSockets of the users whom they concern."""
