"""The REST service: a queue of studies, each run by a process of its own that outlives the service."""
