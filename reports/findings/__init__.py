"""What experiments found, read from their JSON: behaviour, placement and hosts, for terminal and Markdown."""
