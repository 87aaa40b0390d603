"""Where trials run. Today: in this process."""
