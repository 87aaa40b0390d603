"""Measurement files: every format is read into one :class:`~objectives.diffraction.data.measurement.Measurement`."""
