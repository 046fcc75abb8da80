"""`app serve` with cheap password hashes. Its workers import this module too."""

from app.cli import cli
from tests.isolation import hash_cheaply

hash_cheaply()

if __name__ == "__main__":
    cli(["serve"])
