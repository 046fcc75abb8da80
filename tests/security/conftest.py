"""The attack tests go over all that exists: routes, forms, fields and parameters are discovered.

They print at the end how often each attack was tried. docs/security.md has the numbers.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

ATTEMPTS = "attempts"


@pytest.fixture
def attempts(record_property: Callable[[str, object], None]) -> Iterator[Counter[str]]:
    """Yield a counter of attempts, by what was tried. Without a log, which takes longer."""
    counts, disabled = Counter[str](), logging.root.manager.disable
    logging.disable(logging.WARNING)
    yield counts
    logging.disable(disabled)
    for name, count in counts.items():
        record_property(ATTEMPTS, (name, count))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    found = dict[str, int]()
    for report in terminalreporter.getreports(""):  # of the teardowns
        for name, value in report.user_properties:
            if name == ATTEMPTS:
                found[value[0]] = max(value[1], found.get(value[0], 0))
    if found:
        terminalreporter.section("Attacks that were tried, and failed")
    for name, count in sorted(found.items()):
        terminalreporter.line(f"{count:>6,}  {name}")
