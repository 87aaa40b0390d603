"""The environment that a study ran in: software, hardware, and hashes of the objective's code."""
