"""Orders of items: the second example, with children, a status and a reference to another slice.

`NEEDS` names the slices that this one uses. Of those it may import `service`, `models` and
`schemas`, and in `dependencies.py` also `dependencies`; `tests/test_architecture.py` holds it to
that.
"""

NEEDS = ("items",)
