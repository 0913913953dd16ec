"""A run: its options, its cells in their order, its folder, and what a reader sees meanwhile."""
