"""`app serve` with cheap password hashes and long time-outs. Its workers import this module too."""

from app.cli import cli
from tests.isolation import be_patient, hash_cheaply

hash_cheaply()
be_patient()

if __name__ == "__main__":
    cli(["serve"])
