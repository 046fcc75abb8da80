"""`app serve` with cheap password hashes, long time-outs and templates that are compiled lazily.

Its workers import this module too.
"""

from app.cli import cli
from tests.isolation import be_patient, compile_lazily, hash_cheaply

hash_cheaply()
be_patient()
compile_lazily()

if __name__ == "__main__":
    cli(["serve"])
