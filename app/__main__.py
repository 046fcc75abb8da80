"""The entry point of the command `app`, and of `python -m app`."""

import signal
import sys


def main() -> None:
    try:
        from app.cli import cli  # takes a second, in which Ctrl-C may come
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)  # the status of a program that SIGINT has ended
    cli()


if __name__ == "__main__":
    main()
