"""The problem: the search space, and the metrics and limits that trials are judged by."""
