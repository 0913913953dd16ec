"""Several runs (`runner-lab diff`, `history`)."""
