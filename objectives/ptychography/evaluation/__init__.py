"""What one evaluation is: reconstruction, metrics, gradient, cost, noise."""
