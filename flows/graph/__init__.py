"""The fan-out graph and its bodies, imported by name in workers; a bare engine runs the same wiring."""
