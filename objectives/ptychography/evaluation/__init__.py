"""One evaluation: data used, reconstruction, metrics, gradient, cost, noise."""
