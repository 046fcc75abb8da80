"""The schema, and the rules that hold for every document."""

from collections.abc import Iterator

import strawberry
from graphql import GraphQLError, NoSchemaIntrospectionCustomRule, build_schema
from strawberry.extensions import MaxAliasesLimiter, QueryDepthLimiter, SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from app.features.graphql.dependencies import GraphqlContext
from app.features.graphql.router.limits import MAX_ALIASES, MAX_DEPTH
from app.features.graphql.router.mutations import Mutation
from app.features.graphql.router.queries import Query


class ParsedDocument(SchemaExtension):
    """Takes the document that the request was parsed to, and forbids introspection by setting."""

    def on_operation(self) -> Iterator[None]:
        context: GraphqlContext = self.execution_context.context
        if not context.is_introspection_allowed:
            self.execution_context.validation_rules += (NoSchemaIntrospectionCustomRule,)
        yield

    def on_parse(self) -> Iterator[None]:
        self.execution_context.graphql_document = self.execution_context.context.document
        yield


class Schema(strawberry.Schema):
    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        """Leave the log to `errors.py`: Strawberry would log what clients do wrong, as well."""


schema = Schema(
    Query,
    Mutation,
    extensions=[
        ParsedDocument,
        lambda: QueryDepthLimiter(MAX_DEPTH),
        lambda: MaxAliasesLimiter(MAX_ALIASES),
    ],
    # A suggestion would name a field even where introspection is forbidden.
    config=StrawberryConfig(disable_field_suggestions=True),
)
GRAPHQL_SCHEMA = build_schema(schema.as_str())  # GraphQL's own form of it
