"""docs/security.md against the tests that it names."""

import re

from tests.databases import ROOT
from tests.slices import needs

PAGE = ROOT / "docs/security.md"
LINK = re.compile(r"\[`(test_\w+)`\]\(\.\./(tests/[\w/]+\.py)\)")


@needs("items", "items/live.py", "graphql", "lab", "webhooks", "identities", "passkeys")
@needs("pages.py", "admin.py", "frontend.py")
def test_named_tests_exist_in_the_linked_files() -> None:
    links = LINK.findall(PAGE.read_text())
    assert len(links) > 50
    missing = [
        name
        for name, file in links
        if not re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE)
    ]
    assert missing == []
    assert PAGE.read_text().count("`test_") == len(links)
