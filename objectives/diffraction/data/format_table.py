"""The table of file formats, one row for each.

To add a format, write its module in ``formats/`` and add its row here. The module has a ``READER``, see
:mod:`objectives.diffraction.data.format_reader`. What the study file accepts, what ``autotune init`` knows and what the
errors list follow from the row; ``docs/study-file.md`` has a line for each row, which a test compares with it.

A study is checked without loading any reader, so this module imports none: a row names its module, and
:func:`objectives.diffraction.data.open.recognise.reader_of` imports it when a file is opened.
"""

from __future__ import annotations

from dataclasses import dataclass

AUTO = "auto"
"""The value of ``objective.data.format`` that lets the file decide."""


@dataclass(frozen=True)
class FileFormat:
    """One row of the table.

    Attributes:
        name: value of ``objective.data.format``.
        module: the module in which the format's ``READER`` is.
        files: which files have this format, in Markdown.
        reads: what is read from such a file besides the patterns, in Markdown.
        settings: those keys of ``objective.data`` that have an effect on some formats only, this one among them. A
            study that states such a key for a format without it is refused.
    """

    name: str
    module: str
    files: str
    reads: str = "nothing"
    settings: frozenset[str] = frozenset()


_FORMATS = "objectives.diffraction.data.formats"
_NPZ_KEYS = (
    "`data` (4-D raster, or 3-D with `positions` or `scan`), `angular_sampling_mrad`, `energy_eV` or "
    "`wavelength_angstrom`, `semiangle_mrad`, `nominal_step_A`, `mask`, `probe`; all keys are in "
    "`objectives/diffraction/data/formats/npz.py`"
)

_ROWS = (
    FileFormat(
        "cxi",
        f"{_FORMATS}.cxi",
        files="CXI (HDF5)",
        reads="translations, mask, wavelength or energy, detector distance, pixel size and axes",
    ),
    FileFormat(
        "mat",
        f"{_FORMATS}.mat",
        files="MATLAB, version 7.3 and older",
        settings=frozenset({"key", "detector_axes"}),
    ),
    FileFormat(
        "hdf5",
        f"{_FORMATS}.autotune_hdf5",
        files="HDF5 of our own, as `autotune simulate` writes it",
        reads="everything",
    ),
    FileFormat(
        "py4dstem",
        f"{_FORMATS}.py4dstem",
        files="py4DSTEM 0.14, EMD 1.0 of emdfile",
        reads="pixel sizes of scan and detector, rotation (`QR_rotation`), transposition (`QR_flip`), semi-convergence "
        "angle, `accelerating_voltage`",
        settings=frozenset({"key"}),
    ),
    FileFormat(
        "nexus",
        f"{_FORMATS}.nexus",
        files="NeXus (NXcxi_ptycho and alike), groups found by `NX_class`, units from `units`",
        reads="translations or axes, mask, wavelength or energy, detector distance and pixel size",
        settings=frozenset({"key"}),
    ),
    FileFormat(
        "dataset",
        f"{_FORMATS}.single_dataset",
        files="any HDF5 file with a 3-D or 4-D array (PtyRAD, fold_slice)",
        settings=frozenset({"key", "detector_axes"}),
    ),
    FileFormat(
        "npz",
        f"{_FORMATS}.npz",
        files=_NPZ_KEYS,
        reads="as the keys say",
        settings=frozenset({"zero_frequency", "positions"}),
    ),
    FileFormat("npy", f"{_FORMATS}.npy", files="one array", settings=frozenset({"detector_axes"})),
    FileFormat(
        "empad",
        f"{_FORMATS}.empad",
        files="EMPAD `.raw`; by itself, or with its `.xml` beside it",
        reads="with the `.xml`: scan step and angular sampling",
    ),
    FileFormat(
        "rsciio",
        f"{_FORMATS}.rosettasciio",
        files="what RosettaSciIO reads: Medipix `.mib`, `.dm3`/`.dm4`, `.blo`, `.emd`, `.hspy`, TVIPS, `.mrc`, EMPAD "
        "`.xml` and others",
        reads="scales and units of the axes, beam energy, convergence angle, camera length",
        settings=frozenset({"key"}),
    ),
)

FORMATS: dict[str, FileFormat] = {row.name: row for row in _ROWS}
"""Name -> row. Where two formats claim a file equally, by content or by suffix, the earlier one reads it."""
