"""Simulate 4D-STEM measurements whose true mismatch is known; one module per engine."""
