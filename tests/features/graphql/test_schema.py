"""The types of GraphQL have the fields, and the choices, of the REST API's schemas."""

from dataclasses import fields
from enum import Enum
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from app.features.graphql.router import inputs, types
from app.features.items import schemas as items
from app.features.orders import schemas as orders


@pytest.mark.parametrize(
    ("type_", "schema"),
    [
        (types.Item, items.ItemRead),
        (types.Order, orders.OrderRead),
        (types.OrderLine, orders.OrderLineRead),
        (inputs.ItemCreate, items.ItemCreate),
        (inputs.ItemUpdate, items.ItemUpdate),
        (inputs.OrderCreate, orders.OrderCreate),
        (inputs.OrderUpdate, orders.OrderUpdate),
        (inputs.OrderLineInput, orders.OrderLineInput),
    ],
)
def test_type_has_the_fields_of_its_schema(type_: Any, schema: type[BaseModel]) -> None:
    # A field that a method resolves is not of the schema.
    own = {field.name for field in fields(type_) if getattr(field, "base_resolver", None) is None}
    own = {"lines" if name == "line_reads" else name for name in own}  # A method resolves them.
    assert own == schema.model_fields.keys()


@pytest.mark.parametrize(
    ("filter_", "schema"),
    [(inputs.ItemFilter, items.ItemQuery), (inputs.OrderFilter, orders.OrderQuery)],
)
def test_filter_and_arguments_are_those_of_the_query(filter_: Any, schema: type[BaseModel]) -> None:
    names = {field.name for field in fields(filter_)}
    assert names | {"limit", "cursor", "with_total", "sort"} == schema.model_fields.keys()


@pytest.mark.parametrize(
    ("sorts", "schema"),
    [(inputs.ItemSort, items.ItemQuery), (inputs.OrderSort, orders.OrderQuery)],
)
def test_sorts_are_those_of_the_query(sorts: type[Enum], schema: type[BaseModel]) -> None:
    assert {each.value for each in sorts} == {*get_args(schema.model_fields["sort"].annotation)}
