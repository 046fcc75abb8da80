"""Bounds on what one document can ask for.

The cost of a document is the number of fields in its largest possible result. It is counted first:
Strawberry's limiters follow each use of a fragment, of which a short document can have billions.
"""

from collections.abc import Mapping
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_list_type,
)

from app.features.graphql.router.connections import DEFAULT_PAGE_SIZE
from app.features.orders.schemas import MAX_LINES

MAX_TOKENS = 1000
MAX_DEPTH = 8
MAX_ALIASES = 20
MAX_COST = 20_000  # It takes about as long as the longest page of the REST API.
MAX_PAGE_SIZE = 100
MAX_DIGITS = 3  # of a page size
MAX_LIST = MAX_LINES  # the longest list without a page size


class CostCounter:
    """Counts the cost of an operation. Each fragment is counted once for each page size."""

    def __init__(
        self, schema: GraphQLSchema, document: DocumentNode, variables: Mapping[str, Any]
    ) -> None:
        self._schema = schema
        self._variables = {**variables}
        self._sizes = dict[str, Any]()
        self._fragments = {
            each.name.value: each
            for each in document.definitions
            if isinstance(each, FragmentDefinitionNode)
        }
        self._counted = dict[tuple[str, int], int]()

    def cost(self, operation: OperationDefinitionNode) -> int:
        """Return the cost. Raise GraphQLError for a fragment that is unknown or uses itself."""
        root = self._schema.get_root_type(operation.operation)
        self._sizes = sizes_of(operation) | self._variables
        return self._of_selections(operation.selection_set, root, MAX_LIST, ())

    def _of_selections(
        self,
        selections: SelectionSetNode,
        parent: GraphQLNamedType | None,
        size: int,
        path: tuple[str, ...],
    ) -> int:
        """Return the cost of one object, whose lists have up to `size` elements."""
        cost = 0
        for node in selections.selections:
            if isinstance(node, FieldNode):
                cost += self._of_field(node, parent, size, path)
            elif isinstance(node, InlineFragmentNode):
                cost += self._of_selections(node.selection_set, parent, size, path)
            elif isinstance(node, FragmentSpreadNode):
                cost += self._of_fragment(node.name.value, size, path)
        return cost

    def _of_field(
        self, node: FieldNode, parent: GraphQLNamedType | None, size: int, path: tuple[str, ...]
    ) -> int:
        if node.selection_set is None:
            return 1
        field = field_of(parent, node.name.value)
        if field is None:  # It is unknown, which the validation reports, or of the introspection.
            return 1 + self._of_selections(node.selection_set, None, size, path)
        is_list = is_list_type(get_nullable_type(field.type))
        size_below = self._page_size(node) if "first" in field.args else MAX_LIST
        named = get_named_type(field.type)
        below = self._of_selections(node.selection_set, named, size_below, path)
        return 1 + below * (size if is_list else 1)

    def _of_fragment(self, name: str, size: int, path: tuple[str, ...]) -> int:
        if name not in self._fragments:
            raise GraphQLError(f"There is no fragment {name!r}.")
        if name in path:
            raise GraphQLError(f"The fragment {name!r} uses itself.")
        if (name, size) not in self._counted:
            fragment = self._fragments[name]
            type_ = self._schema.get_type(fragment.type_condition.name.value)
            self._counted[name, size] = self._of_selections(
                fragment.selection_set, type_, size, (*path, name)
            )
        return self._counted[name, size]

    def _page_size(self, node: FieldNode) -> int:
        """Return the `first` of a connection. What is no valid size counts as the largest."""
        given = next(
            (each.value for each in node.arguments or () if each.name.value == "first"), None
        )
        value: Any = DEFAULT_PAGE_SIZE if given is None else MAX_PAGE_SIZE
        if isinstance(given, IntValueNode):
            value = number_of(given)
        elif isinstance(given, VariableNode):
            value = self._sizes.get(given.name.value)
        is_valid = isinstance(value, int) and 1 <= value <= MAX_PAGE_SIZE
        return value if is_valid else MAX_PAGE_SIZE


def field_of(parent: GraphQLNamedType | None, name: str) -> GraphQLField | None:
    if not isinstance(parent, GraphQLObjectType | GraphQLInterfaceType):
        return None
    field: GraphQLField | None = parent.fields.get(name)
    return field


def sizes_of(operation: OperationDefinitionNode) -> dict[str, Any]:
    """Return the defaults of the operation's variables, as far as they are whole numbers."""
    return {
        each.variable.name.value: number_of(each.default_value)
        for each in operation.variable_definitions or ()
        if isinstance(each.default_value, IntValueNode)
    }


def number_of(node: IntValueNode) -> int | None:
    """Return the number, or None for a long one, which Python might refuse to convert."""
    return int(node.value) if len(node.value) <= MAX_DIGITS else None


def require_low_cost(
    schema: GraphQLSchema, document: DocumentNode, variables: Mapping[str, Any]
) -> None:
    """Raise GraphQLError if an operation of the document costs too much.

    Those that are not run are counted, too, since the limiters read them.
    """
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            cost = CostCounter(schema, document, variables).cost(definition)
            if cost > MAX_COST:
                raise GraphQLError(
                    f"The result could have {cost:,} fields, and the limit is {MAX_COST:,}. Ask for"
                    " fewer fields, or for shorter pages by `first`."
                )
