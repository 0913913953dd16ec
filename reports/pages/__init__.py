"""What a reader sees: the page, its Markdown, the terminal, and the tables that all of them show."""
