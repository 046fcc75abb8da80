class BenchError(Exception):
    """The run is worth nothing, or cannot begin; its text is the one line that says why."""
