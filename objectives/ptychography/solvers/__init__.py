"""The solvers: each reconstructs an object and a probe from a forward model and data.

:mod:`objectives.ptychography.solvers.table` lists them; their algorithms lie in ``algorithms/``, one module each. The
other modules are what several of them share.
"""
