"""One file an engine: what executes tasks, and its arms."""
