"""Open a file of any format as a measurement."""
