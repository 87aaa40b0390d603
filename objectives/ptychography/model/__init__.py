"""The forward model of ptychography, its kernels, and its misfit to the measurement."""
