"""Packages that other people reconstruct with, each in its own Python."""
