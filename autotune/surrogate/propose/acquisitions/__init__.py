"""Acquisition functions, one file each. ``table.py`` lists them and says which of them a proposal uses.

To add one: a file here with ``suits`` and ``make``, and a row in the table.
"""
