"""The parameters that a study may tune, by kind."""
