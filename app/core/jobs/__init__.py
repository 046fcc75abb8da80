"""Background jobs, which run after a commit, on a schedule or both, and mail."""
