"""The surrogate: a Gaussian process over the search space, its acquisition function, and the Optuna sampler
on top.

Importing this package is cheap; torch and BoTorch are imported by its modules when a proposal is made.
"""
