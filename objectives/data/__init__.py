"""What file formats become: one :class:`~objectives.data.measurement.Measurement`, and the way back."""
