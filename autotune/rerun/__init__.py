"""Trials of a finished study evaluated again: confirm their ranking, or reproduce one of them."""
