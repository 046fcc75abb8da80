import pytest
from fastapi import APIRouter

from app.web.links import PagePaths


def router_with(*endpoints: str) -> APIRouter:
    router = APIRouter(prefix="/shelves")
    for name in endpoints:
        router.add_api_route("/{shelf_id:int}/books/{title}", lambda: None, name=name)
    return router


def test_values_fill_the_path_and_the_rest_becomes_the_query() -> None:
    paths = PagePaths([router_with("show_book")])
    values = {"shelf_id": 7, "title": "a/b?ü", "q": "x & y", "next": "/a", "sort": None}
    expected = "/shelves/7/books/a%2Fb%3F%C3%BC?q=x%20%26%20y&next=/a"
    assert paths.fill("show_book", values) == expected


def test_missing_value_raises_an_error() -> None:
    with pytest.raises(KeyError):
        PagePaths([router_with("show_book")]).fill("show_book", {"shelf_id": 7})


def test_two_pages_with_one_name_raise_an_error() -> None:
    routers = [router_with("show_book"), router_with("show_shelf", "show_book")]
    with pytest.raises(ValueError, match="Two pages have an endpoint 'show_book'"):
        PagePaths(routers)
