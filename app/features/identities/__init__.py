"""Sign-in with other providers, by OpenID Connect: the identities that users have there."""
