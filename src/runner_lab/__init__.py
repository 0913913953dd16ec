"""Which Prefect task runner should I use, and what will it cost me?

The packages are folders at the top of the repository; each is imported as `runner_lab.<folder>`.
"""
