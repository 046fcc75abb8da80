"""Realtime: events that were committed reach the sockets of those whom they concern."""
