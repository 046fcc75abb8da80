"""Observability: logging, metrics, and a guard that reports what blocks the event loop."""
