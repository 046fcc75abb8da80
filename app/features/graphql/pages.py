"""The page on which to try GraphQL. It has no code of others, so the site's policy holds."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.core.translation import mark
from app.web.navigation import Link
from app.web.rendering import render

NEEDS = "has_graphiql"
LINKS = [
    Link(
        mark("GraphQL"),
        "/graphql",
        "anyone",
        mark("Send queries to the same data in one request."),
        order=6,
        place="front page",
    )
]
EXAMPLES = {
    mark("Orders with their lines"): """{
  orders(first: 5, sort: ID_DESC) {
    edges { node { id number status total lines { quantity item { name price } } } }
    pageInfo { hasNextPage endCursor }
  }
}""",
    mark("Search items"): """query($q: String) {
  items(first: 10, filter: {q: $q}) { totalCount edges { cursor node { id name price version } } }
}""",
    mark("Create an item"): """mutation {
  createItem(input: {name: "Lamp", price: "19.99"}) { id version }
}""",
    mark("Fields of queries and mutations"): """{
  __schema {
    queryType { fields { name description args { name } } }
    mutationType { fields { name description args { name } } }
  }
}""",
}

router = APIRouter(include_in_schema=False)


@router.get("/graphql")
async def show_graphql(request: Request) -> Response:
    return render(request, "graphql/graphql.html", examples=EXAMPLES)
