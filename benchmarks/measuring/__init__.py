"""One measured cell: run, checked, metered, waited for."""
