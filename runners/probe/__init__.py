"""Note when a task passes the boundaries of its stages."""
