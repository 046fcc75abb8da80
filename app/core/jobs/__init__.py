"""Jobs: work that is done after the answer, in process or on Redis, and mail."""
