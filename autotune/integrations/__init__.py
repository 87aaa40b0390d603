"""Interfaces of other tools, each a front door like the command line: it imports the rooms, and no room imports it."""
