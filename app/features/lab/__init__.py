"""From a sync ORM to an async one, step by step. The lab maps the table of the items once more."""

NEEDS = ("items",)
