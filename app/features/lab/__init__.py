"""The migration from a sync ORM to an async one, in four steps that can be measured.

The lab has its own mapping of the items table.
"""

NEEDS = ("items",)
