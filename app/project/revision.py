"""`python -m app.project.revision MESSAGE`: write the migration from a new database to the models.

It does what `alembic upgrade head` and `alembic revision --autogenerate` do. Most of their time is
that of loading the application, which is loaded once here.
"""

import sys

from alembic import command
from alembic.config import Config

if __name__ == "__main__":
    config = Config(toml_file="pyproject.toml")
    command.upgrade(config, "head")
    command.revision(config, sys.argv[1], autogenerate=True)
