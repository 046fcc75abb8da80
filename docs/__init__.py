"""The documentation. `python -m docs.configuration` writes one of its pages."""
