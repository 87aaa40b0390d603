"""A run of a study from its beginning to its end."""
