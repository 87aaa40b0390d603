"""autotune: automatic tuning of scientific reconstructions.

Importing the package costs nothing: torch, optuna and mlflow are imported by the modules that need them.
"""

__version__ = "0.1.0"
