class BenchError(Exception):
    """An error that makes the run useless or impossible. Its text is shown in one line."""
