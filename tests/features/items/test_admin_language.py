"""The admin in another language than English."""

import re

import httpx
import pytest

from tests.conftest import Person
from tests.features.items.steps import make_item

KOREAN = {"Accept-Language": "ko"}


def words_of(page: httpx.Response) -> str:
    assert page.status_code == 200, page.text
    return " ".join(re.sub(r"(?s)<script.*?</script>|<[^>]*>", " ", page.text).split())


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/admin/item/list", ("사용자", "가격", "변경 시각", "전체")),
        ("/admin/item/create", ("이름", "가격", "할인 중", "취소")),
        ("/admin/user/list", ("이메일", "슈퍼유저", "생성 시각", "활성")),
        ("/admin/user/edit/{id}", ("비밀번호", "2단계 인증 제거", "모든 기기에서 로그아웃됩니다.")),
        ("/admin/security-event/list", ("종류", "대상", "결과", "주소")),
        ("/admin/queued-job/list", ("시도 횟수", "예정 시각", "실패")),
    ],
)
async def test_names_labels_and_filters_are_translated(
    admin: httpx.AsyncClient, root: Person, path: str, expected: tuple[str, ...]
) -> None:
    words = words_of(await admin.get(path.format(id=root.id), headers=KOREAN))
    for each in expected:
        assert each in words
    for each in (
        "Users",
        "Price",
        "Created at",
        "Email",
        "Full name",
        "On offer",
        "Failed",
        "device",
    ):
        assert each not in words


async def test_search_field_names_its_columns(admin: httpx.AsyncClient) -> None:
    page = await admin.get("/admin/item/list", headers=KOREAN)
    assert 'placeholder="이름, 설명"' in page.text


async def test_numbers_and_times_are_the_readers(admin: httpx.AsyncClient, ann: Person) -> None:
    await make_item(ann, price="1234567.5")
    admin.cookies.set("time_zone", "Asia/Seoul")
    page = await admin.get("/admin/item/list", headers=KOREAN)
    assert "<td>US$1,234,567.50</td>" in page.text
    assert re.search(r"<time [^>]*>20\d\d\. \d+\. \d+\. 오[전후] \d+:\d\d</time>", page.text)


async def test_filter_by_the_name_of_a_field_refuses_what_the_form_refuses(
    admin: httpx.AsyncClient, ann: Person
) -> None:
    item = await make_item(ann, price="5")
    path = f"/admin/item/details/{item['id']}"
    for query, is_found in (
        ("price_op=equals&price=5.00", True),
        ("price_op=less_than&price=5", False),
        ("price_op=greater_than&price=-1", False),
        ("price_op=equals&price=NaN", False),
        ("price_op=equals&price=None", False),
        ("is_offer=false", False),
        (f"owner_id_op=equals&owner_id={ann.id}", True),
        ("owner_id_op=equals&owner_id=x", False),
    ):
        page = await admin.get(f"/admin/item/list?{query}")
        assert (page.status_code, path in page.text) == (200, is_found), query
