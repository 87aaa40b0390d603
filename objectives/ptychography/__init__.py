"""Ptychography: an unknown object, an illumination that overlaps with itself, patterns from many scan positions.

Sign conventions, stated once. The wave is exp(+2 pi i k.r), a forward Fourier transform is sum exp(-2 pi i k.r), and
free space over a distance z multiplies the spectrum by exp(-i pi lambda z k^2). A probe is A(k) exp(-i chi(k)) with
chi = pi lambda C10 k^2 + ... and C10 = -defocus: positive defocus is underfocus, as in abTEM, py4DSTEM and PtyRAD. A
scan rotation of +v turns the scan axes by r_y = cos v y - sin v x, r_x = sin v y + cos v x in the detector's frame.
"""
