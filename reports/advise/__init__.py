"""What a flow's profile says: its time under each runner, what limits it, and what to change (`runner-lab advise`)."""
