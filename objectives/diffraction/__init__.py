"""Diffraction experiments: their data and their detectors."""
