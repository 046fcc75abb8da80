from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from app.project.fields import Field, FieldError, parse_field
from app.project.resource import plural_of, singular_of, with_article


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("number:str(20) unique", {"type": "str", "length": 20, "is_unique": True}),
        ("note:text?", {"type": "text", "length": 10_000, "is_null": True}),
        ("title:str='a b' index", {"length": 255, "default": "a b", "is_indexed": True}),
        ("total:money", {"type": "money", "is_null": False, "default": None}),
        ("total:money>=-5<=9.5=2.50", {"at_least": -5, "at_most": Decimal("9.5")}),
        ("count:int >= 1 <= 100 =7", {"at_least": 1, "at_most": 100, "default": 7}),
        ("big:bigint=-9223372036854775807", {"default": -(2**63) + 1}),
        ("ratio:float=1e3", {"default": 1000.0}),
        ("is_open:bool=true", {"default": True}),
        ("due:date=2026-02-28", {"default": date(2026, 2, 28)}),
        ("at:datetime=2026-01-01T10:00:00+02:00", {"default": datetime(2026, 1, 1, 8, tzinfo=UTC)}),
        ("status:enum(draft, sent)=sent", {"choices": ("draft", "sent"), "default": "sent"}),
        ("customer:ref(users)?", {"table": "users", "is_null": True}),
        (" token : uuid ", {"name": "token", "type": "uuid"}),
        ("data:json", {"type": "json"}),
    ],
)
def test_field_is_read(text: str, values: dict[str, Any]) -> None:
    field = parse_field(text)
    assert {name: getattr(field, name) for name in values} == values


def test_children_are_read_with_their_own_parentheses() -> None:
    field = parse_field(
        "lines:many(kind:enum(a,b)=a, price:money, name:str(20)?, item:ref(items)? unique)"
    )
    assert field.children == (
        Field(name="kind", type="enum", choices=("a", "b"), default="a"),
        Field(name="price", type="money"),
        Field(name="name", type="str", length=20, is_null=True),
        Field(name="item", type="ref", table="items", is_null=True, is_unique=True),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not a field."),
        ("number", "'number' is not a field."),
        ("number:", "'number:' is not a field."),
        (":str", "'' cannot be a name"),
        ("Number:str", "'Number' cannot be a name"),
        ("a__b:str", "'a__b' cannot be a name"),
        ("éa:str", "'éa' cannot be a name"),
        ("x" * 26 + ":str", "cannot be a name"),
        ("a:string", "There is no type 'string'. The types: str, text, int,"),
        ("a:str(0)", "the length is a number from 1 to 2,000"),
        ("a:str(x)", "the length is a number from 1 to 2,000"),
        ("a:str(9999)", "the length is a number from 1 to 2,000"),
        ("a:str(20", "a closing parenthesis is missing"),
        ("a:int(3)", "int takes nothing in parentheses"),
        ("a:enum", "write it as status:enum(draft,sent)"),
        ("a:enum()", "write it as status:enum(draft,sent)"),
        ("a:enum(A b)", "'A b' cannot be a choice"),
        ("a:enum(x,x)", "a choice is listed twice"),
        ("a:enum(x)=y", "'y' is none of the choices"),
        ("a:ref", "write it as customer:ref(users)"),
        ("a:many", "write it as lines:many("),
        ("a:many(b:ref)", "write it as customer:ref(users)"),
        ("a:many(b:many(c:int))", "many(...) takes no many"),
        ("a:many(b:text unique)", "b: text cannot be unique or indexed"),
        ("a:many(b:int) unique", "many(...) takes nothing after it"),
        ("a:many(b:int)?", "many(...) takes nothing after it"),
        ("a:int=x", "'x' is not a value of the type int"),
        ("a:date=2026-02-30", "'2026-02-30' is not a value of the type date"),
        ("a:money=1.999", "'1.999' is not a value of the type money"),
        ("a:money=NaN", "'NaN' is not a value of the type money"),
        ("a:float=inf", "'inf' is not a value of the type float"),
        ("a:bool=yes", "'yes' is not a value of the type bool"),
        ("a:json={}", "'{}' is not a value of the type json"),
        ("a:int=9999999999", "int has numbers up to 2,147,483,647"),
        ("a:int>=5=3", "the default 3 is out of bounds"),
        ("a:money=-1", "the default -1 is out of bounds"),
        ("a:int>=5<=3", "no number is at least 5 and at most 3"),
        ("a:date>=2026-01-01", "date takes no >="),
        ("a:str(2)=abc", "the default is longer than 2 characters"),
        ("a:int?=3", "choose ? or a default"),
        ("a:int??", "'?' is said twice"),
        ("a:int uniq", "'uniq' is not understood"),
        ("a:text unique", "text cannot be unique or indexed"),
    ],
)
def test_invalid_field_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(FieldError) as refusal:
        parse_field(text)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("singular", "plural", "with_a"),
    [
        ("invoice", "invoices", "an invoice"),
        ("category", "categories", "a category"),
        ("box", "boxes", "a box"),
        ("class", "classes", "a class"),
        ("day", "days", "a day"),
        ("unit", "units", "a unit"),
        ("user", "users", "a user"),
        ("upload", "uploads", "an upload"),
    ],
)
def test_names_follow_english(singular: str, plural: str, with_a: str) -> None:
    assert plural_of(singular) == plural
    assert singular_of(plural) == singular
    assert with_article(singular) == with_a
