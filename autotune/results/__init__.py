"""Results of a study as documents and files: result.json, posterior, best.yaml, overview, side by side."""
