"""The frame of all experiments: what one is, the process that makes it, and the run that writes what was found."""
