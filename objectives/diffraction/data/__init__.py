"""What file formats become: one :class:`~objectives.diffraction.data.measurement.Measurement`, and the way back."""
