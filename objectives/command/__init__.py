"""Any program as an objective: values go in by files, arguments or environment, metrics come out of what it writes."""
