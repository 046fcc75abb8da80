"""Security: tokens, passwords, policy headers, rate limits, the address of a client."""
