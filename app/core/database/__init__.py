"""The database: engines, sessions, the unit of work, column types, queries and repositories.

`dependencies.SessionDep` injects the session of a request; `models.Base` is the base of all models.
"""
