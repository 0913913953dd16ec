"""Which arm for a piece of work: `runner-lab choose`, and the decision map of a report (`atlas`)."""
