"""HOW LONG: the pytest-benchmark suites over flows x runners. Writes records; the only package that imports the other three."""
