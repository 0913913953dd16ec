"""Keep a run apart from the user's Prefect, and end what it leaves."""
