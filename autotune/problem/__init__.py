"""What is searched, and by which metrics and limits trials are judged."""
