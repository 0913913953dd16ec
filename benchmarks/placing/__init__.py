"""Where a task may run, and what runners do across hosts: `runner-lab placement` and `hosts`.

`ways` has the ways to ask for a place and `places` the places; `network` has the hosts, and `severed` cuts their links.
"""
