"""A slice of the tests' own: it has a job, and that sends a mail."""
