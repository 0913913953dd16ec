"""Experiments on behaviour, not speed: `runner-lab faults`, `equivalence`, `placement`, `hosts`.

A file with `SUITE` and `EXPERIMENTS` has experiments of the command that it names; `frame` makes them and writes what
they have shown. The other files have what several of them need.
"""
