"""Security: access tokens, cookies, passwords, policy headers, rate limits and client addresses."""
