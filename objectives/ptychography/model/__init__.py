"""The forward model of ptychography and its discrepancy from the measurement."""
