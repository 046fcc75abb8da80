"""Security: access tokens, passwords, policy headers, rate limits and client addresses."""
