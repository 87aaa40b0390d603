"""Arrays and pictures of an evaluation, for people."""
