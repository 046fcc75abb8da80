"""The database: engines, the session and its unit of work, column types, queries, repositories.

`dependencies.SessionDep` gives an endpoint its session; `models.Base` is what tables derive from.
"""
