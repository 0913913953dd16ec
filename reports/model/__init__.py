"""The cost model: its terms, their fit to a run, and how far to trust it."""
