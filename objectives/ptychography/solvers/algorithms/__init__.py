"""The algorithms of the solvers, one module each; :mod:`objectives.ptychography.solvers.table` lists them."""
