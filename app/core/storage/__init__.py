"""Uploaded files: what is checked of them, and where they are stored."""
