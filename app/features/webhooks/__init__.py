"""Webhooks: the events of an owner's records, sent to an address of theirs and signed.

The slice needs no other: it sends the events that the slices declare in their `events.py`.
"""
