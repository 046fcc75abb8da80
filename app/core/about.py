"""What the project is called. `app rename` writes this file."""

NAME = "FastAPI template"
# Names the package, the Compose project, and the realm of the access tokens.
SLUG = "fastapi-template"
DESCRIPTION = "A full-stack application on FastAPI and an async SQLAlchemy ORM: an API, pages, accounts, an admin and jobs."
