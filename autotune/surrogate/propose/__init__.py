"""Where the surrogate proposes to evaluate next."""
