"""Experiments on behaviour, not speed (`runner-lab faults`, `equivalence`, `placement`, `hosts`)."""
