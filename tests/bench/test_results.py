from xml.etree import ElementTree

import pytest

from bench.chart import draw
from bench.compare import Verdict, compare
from bench.load import Measurement
from bench.report import Table, speed_table
from bench.results import ContenderProcess, Result, Spread, round_ratios


def measurement(per_second: float) -> Measurement:
    requests = round(per_second * 4)
    return Measurement(
        requests=requests, seconds=4, p50_ms=1, p99_ms=per_second / 10, cpu_us=1, pinned=True
    )


def result(project: list[float], starlette: list[float]) -> Result:
    contenders = {"starlette": starlette, "project": project}
    return Result(
        machine={},
        packages={},
        settings={},
        contenders={
            name: ContenderProcess(title=name.title(), start_seconds=[1], resident_mb=[1, 1])
            for name in contenders
        },
        workloads={
            "one": {
                name: [measurement(each) for each in found] for name, found in contenders.items()
            }
        },
    )


def test_round_is_compared_with_the_floor_in_the_same_round() -> None:
    """The ratio does not change in a round in which the machine is half as fast."""
    found = result(project=[300, 150, 330], starlette=[600, 300, 600])
    rounds = found.workloads["one"]
    assert round_ratios(rounds["project"], rounds["starlette"]) == pytest.approx([0.5, 0.5, 0.55])
    assert found.ratio("one", "project") == pytest.approx((0.5, 0.5, 0.55))


def test_ratio_is_the_median_of_the_ratios_of_the_rounds() -> None:
    found = result(project=[100, 900, 500], starlette=[1000, 1000, 500])
    assert found.ratio("one", "project").median == pytest.approx(0.9)


def test_different_numbers_of_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="longer"):
        round_ratios([measurement(1)], [measurement(1), measurement(1)])


def test_spread_has_median_lowest_and_highest_round() -> None:
    found = result(project=[30, 10, 20], starlette=[1, 1, 1])
    assert found.spread("one", "project", "p99_ms") == Spread(median=2, low=1, high=3)
    assert found.spread("one", "project", "per_second") == Spread(median=20, low=10, high=30)


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ([50, 52, 54], [55, 56, 57], "gain"),
        ([50, 52, 54], [47, 48, 49], "LOSS"),
        ([50, 50, 50], [48, 48, 48], "same"),  # The change is below MIN_CHANGE.
        ([50, 52, 54], [40, 45, 50], "same"),  # The ranges overlap.
        (
            [40, 52, 64],
            [41, 42, 43],
            "same",
        ),  # The ranges overlap, although the median is 19 % lower.
        ([50, 50, 50], [50, 50, 50], "same"),
    ],
)
def test_verdict_depends_on_the_spread_of_the_rounds(
    before: list[float], after: list[float], verdict: Verdict
) -> None:
    floor = [100.0] * 3
    (change,) = compare(result(before, floor), result(after, floor), "project")
    assert change.verdict == verdict


def test_faster_machine_is_not_a_gain() -> None:
    before, after = result([50, 51, 52], [100] * 3), result([500, 510, 520], [1000] * 3)
    (change,) = compare(before, after, "project")
    assert change.verdict == "same"


def test_new_workload_is_not_compared() -> None:
    before, after = result([1], [1]), result([1], [1])
    after.workloads["two"] = after.workloads["one"]
    assert [each.workload for each in compare(before, after, "project")] == ["one"]


def test_result_survives_a_round_trip_through_json() -> None:
    found = result([50, 51], [100, 100])
    assert Result.model_validate_json(found.model_dump_json()) == found


def test_table_is_formatted_as_markdown() -> None:
    assert Table("Sizes", ["what", "MB"], [["a", "1"]]).markdown() == (
        "Sizes:\n\n| what | MB |\n| --- | ---: |\n| a | 1 |\n"
    )
    rows = speed_table(result([50, 51], [100, 100])).rows
    assert rows[0][:4] == ["one: Starlette", "1.00", "", "100"]
    assert rows[1][:4] == ["one: Project", "0.51", "0.50 to 0.51", "50"]


def test_length_of_a_bar_is_the_ratio() -> None:
    svg = ElementTree.fromstring(draw(result([40, 50, 60], [100, 100, 100])))
    (bar,) = svg.findall(".//{*}rect[@class='project'][@height='16']")
    (floor,) = svg.findall(".//{*}line[@class='floor']")
    length = float(floor.attrib["x1"]) - float(bar.attrib["x"])
    assert float(bar.attrib["width"]) == pytest.approx(length / 2)
