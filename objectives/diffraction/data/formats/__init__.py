"""One module for each file format; :mod:`objectives.diffraction.data.format_table` lists them."""
