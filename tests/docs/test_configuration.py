import pytest

from docs import configuration


def test_configuration_page_matches_the_settings() -> None:
    assert configuration.PAGE.read_text() == configuration.page(), "run `make docs`"


def test_setting_without_a_description_is_refused() -> None:
    with pytest.raises(ValueError, match="PORT has no description"):
        configuration.row("PORT", "8000", "")
