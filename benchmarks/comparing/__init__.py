"""A user's own flow under every arm (`runner-lab compare`). `compare` is the session; the rest finds and checks it."""
