"""Tests of the watch of a folder."""
