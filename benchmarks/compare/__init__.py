"""A user's flow under every runner (`runner-lab compare`)."""
