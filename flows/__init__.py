"""WHAT runs: Prefect flows and tasks, and the same graph for an engine without Prefect. Imports nothing else of the lab."""
