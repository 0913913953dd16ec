"""WHERE it runs: one file per runner, the Prefect server, the lean runners. Imports nothing else of the lab.

Importing this package imports no Prefect: the environment that Prefect reads must be set first
(`runners.isolation.environment`).
"""
