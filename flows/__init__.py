"""WHAT runs: Prefect flows and tasks, and their graph for engines without Prefect. Imports nothing else of the lab."""
