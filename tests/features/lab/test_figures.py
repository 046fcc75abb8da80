from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

from app.features.lab.schemas import STEPS, Measurement, Plan, Results
from app.features.lab.service.chart import draw
from app.features.lab.service.figures import COLUMNS
from app.features.lab.service.load import Load
from app.features.lab.service.runner import percentile


def measurement(step: str, **changes: Any) -> Measurement:
    values = {
        "step": step,
        "operation": "items",
        "clients": 10,
        "queries": 1,
        "requests_per_second": 50,
        "p50_ms": 20,
        "p99_ms": 30,
        "light_p99_ms": None,
        "loop_lag_ms": 1,
        "threads": 0,
        "errors": 0,
    }
    return Measurement.model_validate(values | changes)


def test_winners_have_the_best_value_as_it_is_shown() -> None:
    measurements = [
        measurement("step1", requests_per_second=1234.4, p50_ms=19.6, threads=10),
        measurement("step2", requests_per_second=50.2, p99_ms=None),
        measurement("step4", requests_per_second=1233.9, p50_ms=20.4, light_p99_ms=2),
    ]
    winners = {column.name: column.winners(measurements) for column in COLUMNS}
    assert winners == {
        "requests_per_second": "sync, async",  # Both are shown as 1,234.
        "p50_ms": "-",
        "p99_ms": "sync, async",
        "light_p99_ms": "async",
        "loop_lag_ms": "-",
        "threads": "trap, async",
        "queries": "-",
    }


def test_percentile_is_in_milliseconds() -> None:
    assert percentile([], 99) is None
    assert percentile([0.5], 50) == 500
    assert percentile([number / 1000 for number in range(101)], 99) == 99


def test_rate_is_measured_up_to_the_last_response() -> None:
    result = Load(port=0, path="", clients=10)
    assert result.requests_per_second == 0
    result.start, result.end, result.last_response = 100, 105, 110
    result.latencies = [8] * 20
    assert result.requests_per_second == 2


def test_bar_has_its_step_and_value() -> None:
    results = Results(
        measured_at=datetime.now(UTC),
        machine={"database": "<SQLite> & others", "cores": 2},
        plan=Plan(),
        measurements=[
            measurement(
                step, operation=operation, clients=clients, requests_per_second=1000 * number
            )
            for operation, clients in (("items", 10), ("report", 1))
            for number, step in enumerate(STEPS)
        ],
    )
    svg = ElementTree.fromstring(draw(results))
    texts = [element.text or "" for element in svg.iter() if element.tag.endswith("text")]
    for text in (*STEPS.values(), "0", "1,000", "3,000", "-", "items, 10 clients"):
        assert text in texts
    bars = [element for element in svg.iter() if element.tag.endswith("rect")]
    assert len(bars) == 4 * 2 * 2
    widths = [int(bar.attrib["width"]) for bar in bars if bar.attrib["class"] == "async"]
    assert max(widths) == 160
