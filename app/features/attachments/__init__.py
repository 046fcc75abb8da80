"""Attachments of items: files that are uploaded, stored, and downloaded again."""

NEEDS = ("items",)
