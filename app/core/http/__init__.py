"""HTTP: problem documents, middleware, conditional and idempotent requests, OpenAPI, the server."""
