"""Propose a study for a measurement file."""
