"""Parts of ``benchmarks/search.py``: search engines side by side on the same problems."""
