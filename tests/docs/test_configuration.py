from pathlib import Path

import pytest

from app.core.config import Settings
from docs import configuration
from tests.databases import ROOT
from tests.docs.markdown import blocks


def test_configuration_page_matches_the_settings() -> None:
    assert configuration.PAGE.read_text() == configuration.page(), "run `make docs`"


def test_setting_without_a_description_is_refused() -> None:
    with pytest.raises(ValueError, match="PORT has no description"):
        configuration.row("PORT", "8000", "")


@pytest.mark.usefixtures("empty_working_directory")
def test_production_example_starts() -> None:
    (example,) = [
        text
        for info, text in blocks(ROOT / "docs/deployment.md")
        if info == ["ini"] and "ENVIRONMENT=production" in text
    ]
    Path(".env").write_text(example.replace("...", "0123456789abcdef" * 2))
    assert Settings().environment == "production"
    names = {line.partition("=")[0].lower() for line in example.splitlines()}
    assert names <= {*Settings.model_fields}
