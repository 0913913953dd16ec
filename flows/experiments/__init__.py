"""The flows of the experiments on behaviour."""
