"""Open a file of any known format as a measurement."""
