"""The Gaussian process of values and gradients."""
