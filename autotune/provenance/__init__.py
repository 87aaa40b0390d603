"""What a study ran with: software, hardware, and hashes of the objective's code."""
