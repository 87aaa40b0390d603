"""The optimum according to the surrogate: its location, intervals, and verdicts on the parameters."""
