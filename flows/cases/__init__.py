"""Flows as people write them, with the libraries they use, each over real files, a real service or a real database.

One flow a file, to be read and copied. `inputs`, `services` and what they need are the lab's: they make what in real
life is there. docs/real-flows.md says what each flow does.
"""
