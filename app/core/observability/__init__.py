"""Observability: logging, metrics, traces, and a guard that reports what blocks the event loop."""
