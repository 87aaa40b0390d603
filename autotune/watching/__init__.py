"""A study for each new measurement in a folder, run here or by a service; survives being killed at any instruction."""
