"""What runners do when things go wrong, and whether they cache and retry alike: `runner-lab faults` and `equivalence`.

`faults` and `equivalence` list the experiments, which are in `faults_*`, `caching`, `locking` and `retrying`.
`behaviour` makes them, each arm's in an `arm_process` that may hang or die.
"""
