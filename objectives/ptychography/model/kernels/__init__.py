"""The elementwise steps of a pass over a batch of patterns, between its Fourier transforms.

:mod:`objectives.ptychography.model.kernels.protocol` says what the steps are. Two implementations have equal results:
:mod:`objectives.ptychography.model.kernels.plain` in plain torch operations (any device, traceable by autograd where
nothing is written in place), and :mod:`objectives.ptychography.model.kernels.fused`, each step fused into one loop so
that every array is read and written once. A transform of 64 x 64 costs 3 microseconds and each pass over such an array
1 to 2, so steps that are not fused cost more than the transforms.
"""
