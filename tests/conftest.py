"""The lab's tests share their server, clusters and environment with those of prefect-lean."""

pytest_plugins = ["tests.suite"]
