"""The answer made with the model (`runner-lab choose`, the decision map)."""
