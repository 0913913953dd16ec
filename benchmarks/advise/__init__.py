"""A flow of the user's, profiled: run once as its author wrote it, with every task run timed from within."""
