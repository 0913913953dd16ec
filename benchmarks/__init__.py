"""HOW LONG: the pytest-benchmark suites over flows x runners. Imports the other three packages."""
