"""The trial store, the only truth about a study; everything else is a projection of it."""
