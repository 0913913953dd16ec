"""Several runs: two against each other (`runner-lab diff`), and all of them over time (`history`, `trend`)."""
