from pathlib import Path

from tests.databases import ROOT
from tests.docs.markdown import anchors, pages, relative_links
from tests.slices import needs


def broken_links(page: Path) -> list[str]:
    """Return the relative links of a page that lead to no file, or to no heading of it."""
    broken = []
    for link in relative_links(page):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken


# The pages link to these slices: a project that deletes one also shortens the pages.
@needs("items", "graphql", "lab", "webhooks", "pages.py", "identities", "passkeys")
@needs("frontend.py")
def test_relative_links_lead_to_files_and_headings() -> None:
    found = {str(page.relative_to(ROOT)): broken_links(page) for page in pages()}
    assert len(found) > 10
    assert {page: broken for page, broken in found.items() if broken} == {}


def test_broken_link_is_reported(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A page, with a heading\n"
        "[file](page.md) [heading](#a-page-with-a-heading) [site](https://example.com/none)\n"
        "[no file](none.md) [no heading](page.md#none) `[code](none.md)`\n"
        "```\n[code](none.md)\n```\n"
    )
    assert broken_links(page) == ["none.md", "page.md#none"]
