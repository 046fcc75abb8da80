"""Uploaded files: their checks and their storage."""
