from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel, ValidationError

from app.core.errors import Invalid
from app.web.forms import Form, browser_messages
from app.web.resource_pages import format_value


class Row(BaseModel):
    price: int


class Order(BaseModel):
    rows: list[Row]


def test_rows_without_values_are_left_out_and_the_rest_is_numbered_anew() -> None:
    form = Form(
        {
            "rows-0-price": " ",
            "rows-2-price": "2",
            "rows-2-note": "",
            "rows-10-price": "3",
            "name": "x",
        }
    )
    assert form.take_rows("rows") == [{"price": "2"}, {"price": "3"}]
    assert form.values == {
        "rows-0-price": "2",
        "rows-0-note": "",
        "rows-1-price": "3",
        "name": "x",
    }
    assert form.count_rows("rows") == 2
    assert form.take_rows("row") == []


def test_error_of_a_row_belongs_to_its_field() -> None:
    form = Form({"rows-5-price": "x"})
    with pytest.raises(ValidationError) as invalid:
        form.read(Order, rows=form.take_rows("rows"))
    form.add_error(invalid.value)
    assert form.errors == {"rows-0-price": "Enter a whole number such as 2."}
    assert form.get("rows-0-price") == "x"


def test_message_of_an_own_validator_is_shown() -> None:
    def refuse(value: str) -> str:
        raise ValueError("this is taken")

    class Name(BaseModel):
        name: Annotated[str, AfterValidator(refuse)]

    form = Form({"name": "x"})
    with pytest.raises(ValidationError) as invalid:
        form.read(Name)
    form.add_error(invalid.value)
    assert form.errors == {"name": "This is taken."}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        ({"a": [None]}, '{"a": [null]}'),
    ],
)
def test_value_is_formatted_as_a_form_submits_it(value: Any, text: str) -> None:
    assert format_value(value) == text


def test_domain_error_of_a_row_is_shown_beside_its_field() -> None:
    form = Form({"lines-0-item_id": "7", "lines-1-item_id": "8"})
    form.add_error(Invalid("There is no item.", "body", "lines", 1, "item_id"))
    assert form.errors == {"lines-1-item_id": "There is no item."}
    form.add_error(Invalid("Not in the form.", "body", "stops", 0, "place"))
    assert form.alert == "Not in the form."


@pytest.mark.parametrize(
    ("type_", "required", "limits", "messages"),
    [
        ("text", False, {"maxlength": 9}, {}),
        ("text", True, {}, {"data-value-missing": "Please fill this in."}),
        (
            "email",
            None,
            {},
            {"data-type-mismatch": "Enter an email address such as ann@example.com."},
        ),
        ("date", False, {}, {"data-bad-input": "Enter a date such as 2026-11-27."}),
        ("password", None, {"minlength": 10}, {"data-too-short": "At least 10 characters."}),
        (
            "number",
            None,
            {"min": 0, "max": 9},
            {
                "data-bad-input": "Enter a whole number such as 2.",
                "data-step-mismatch": "Enter a whole number such as 2.",
                "data-range-underflow": "At least 0.",
                "data-range-overflow": "At most 9.",
            },
        ),
    ],
)
def test_browser_has_the_messages_for_what_it_checks(
    type_: str, required: bool | None, limits: dict[str, int], messages: dict[str, str]
) -> None:
    assert browser_messages(type_, required, limits) == messages
