"""Where trials run. In this process, in worker processes, or on a Dask cluster."""
