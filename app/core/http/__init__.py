"""HTTP: problems, middleware, conditional and idempotent requests, OpenAPI, the server's limits."""
