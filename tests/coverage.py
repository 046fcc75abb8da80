"""Measure the coverage of `app` by the tests, if TEST_COVERAGE names a folder for the results.

SlipCover adds probes to the code as it is imported, which costs a tenth of what tracing costs. Each
process of xdist measures what it runs, and leaves one file. The process that distributes the tests
runs no code of the application, and other processes that a test starts are not measured.
"""

import json
import os
from pathlib import Path

from slipcover import FileMatcher, ImportManager, Slipcover
from slipcover.config import read_config

ROOT = Path(__file__).parents[1]
WORKER = os.environ.get("PYTEST_XDIST_WORKER")
# A process that a test starts must not write to the same file.
FOLDER = os.environ.pop("TEST_COVERAGE", None) if WORKER else None
# To remove probes that have been hit takes up to a second in the middle of a test, leaves garbage,
# and saves nothing.
KEEP_PROBES = 1_000_000_000
measurements = list[Slipcover]()


def measure_coverage() -> None:
    """Measure the modules that are imported from now on."""
    if FOLDER is None:
        return
    options = read_config(ROOT / "pyproject.toml")
    source = [str(ROOT / folder) for folder in options["source"]]
    measurement = Slipcover(
        branch=options["branch"],
        source=source,
        exclude_also=options["exclude-also"],
        d_miss_threshold=KEEP_PROBES,
    )
    ImportManager(measurement, FileMatcher(sources=source)).__enter__()
    measurements.append(measurement)


def save_coverage() -> None:
    for measurement in measurements:
        folder = Path(FOLDER or "")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{WORKER}.json").write_text(json.dumps(measurement.get_coverage()))
