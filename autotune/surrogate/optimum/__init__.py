"""What the surrogate knows about the optimum: intervals and verdicts."""
