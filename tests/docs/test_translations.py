from pathlib import Path

import pytest

from tests.databases import ROOT
from tests.docs.markdown import Block, blocks, outline

TRANSLATED = [
    name
    for name in ("README", "docs/getting-started", "docs/architecture")
    if (ROOT / f"{name}.ko.md").exists()  # `app rename` deletes that of the README.
]


def shell_blocks(page: Path) -> list[Block]:
    return [block for block in blocks(page) if "sh" in block.info]


@pytest.mark.parametrize("name", TRANSLATED)
def test_korean_page_has_the_outline_and_shell_blocks_of_the_english_page(name: str) -> None:
    korean, english = ROOT / f"{name}.ko.md", ROOT / f"{name}.md"
    assert outline(korean) == outline(english)
    assert shell_blocks(korean) == shell_blocks(english)
