"""`app serve` with cheap password hashes, long time-outs and templates that are compiled lazily.

Its workers import this module too.
"""

from app.cli import cli
from tests.isolation import compile_lazily, extend_timeouts, use_cheap_hashes

use_cheap_hashes()
extend_timeouts()
compile_lazily()

if __name__ == "__main__":
    cli(["serve"])
