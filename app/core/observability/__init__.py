"""Observability: logs, and a guard that tells what blocks the event loop."""
