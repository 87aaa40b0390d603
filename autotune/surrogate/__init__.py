"""The surrogate: a Gaussian process over the search space.

``model`` fits it to the trials, ``propose`` says where to evaluate next, ``optimum`` says where the optimum is and how
sure that is. Importing this package is cheap; its modules import torch and BoTorch.
"""
