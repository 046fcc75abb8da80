"""GraphQL over items and orders: the services of the REST API, behind another surface.

`docs/graphql.md` describes it.
"""

NEEDS = ("items", "orders")
