"""Arrays in HDF5 as EMD 1.0 (https://emdatasets.com/format/), which py4DSTEM and emdfile open with axes and units.

/                       the header's attributes; those of the evaluation and its metrics, too
/NAME                   each array by its name, for any HDF5 reader (the data set below, linked)
/reconstruction         the EMD root
    NAME/data           the array (attribute ``units``)
    NAME/dim0, dim1 ..  its axes, one value for each index (attributes ``name``, ``units``)
    metadatabundle/evaluation    attributes and metrics, as EMD metadata
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autotune import __version__
from autotune.objective import ArrayAxis, ArrayDescription

if TYPE_CHECKING:
    import h5py

ROOT = "reconstruction"
_BUNDLE = "metadatabundle"
_PIXEL = "pixels"  # what EMD readers call an axis that counts


def write_emd(
    path: Path,
    arrays: Mapping[str, Any],
    attributes: Mapping[str, Any],
    descriptions: Mapping[str, ArrayDescription] | None = None,
) -> None:
    """Write arrays to a new file.

    Args:
        path: the file; must not be there.
        arrays: name -> array, of at least one dimension to be in the EMD tree.
        attributes: numbers and texts.
        descriptions: name -> unit and axes; an array without one, or whose axes are not as many as its dimensions,
            counts pixels.
    """
    import h5py

    with h5py.File(path, "x") as file:
        for name, value in attributes.items():
            file.attrs[name] = value
        file.attrs.update(
            emd_group_type="file",
            version_major=1,
            version_minor=0,
            UUID=str(uuid.uuid4()),
            authoring_program=f"autotune {__version__}",
            authoring_user="",
        )
        root = _group(file, ROOT, "root", "Root")
        for name, array in arrays.items():
            if np.ndim(array) == 0:
                file.create_dataset(_free(file, name), data=array)
                continue
            within = f"{name}_" if name == _BUNDLE else name
            _write_array(root, within, np.asarray(array), (descriptions or {}).get(name))
            file[_free(file, name)] = root[within]["data"]
        _write_metadata(root, attributes)


def _free(file: h5py.File, name: str) -> str:
    """The name, or one like it where EMD's own group has it."""
    return f"{name}_" if name in file else name


def _write_array(root: h5py.Group, name: str, array: Any, description: ArrayDescription | None) -> None:
    group = _group(root, name, "array", "Array")
    group.create_dataset("data", data=array).attrs["units"] = "" if description is None else _unit(description.unit)
    axes: Sequence[ArrayAxis] = () if description is None else description.axes
    if len(axes) != array.ndim:
        axes = [ArrayAxis(f"dim{n}") for n in range(array.ndim)]
    for n, axis in enumerate(axes):
        dimension = group.create_dataset(f"dim{n}", data=axis.step * np.arange(array.shape[n]))
        dimension.attrs["name"] = axis.name
        dimension.attrs["units"] = _PIXEL if axis.unit == "1" else _unit(axis.unit)


def _write_metadata(root: h5py.Group, attributes: Mapping[str, Any]) -> None:
    bundle = root.create_group(_BUNDLE)
    bundle.attrs["emd_group_type"] = _BUNDLE
    metadata = _group(bundle, "evaluation", "metadata", "Metadata")
    for name, value in attributes.items():
        text = isinstance(value, str)
        stored = metadata.create_dataset(name, data=np.bytes_(value.encode()) if text else value)
        stored.attrs["type"] = np.bytes_(b"string" if text else b"number" if np.ndim(value) == 0 else b"array")


def _group(parent: h5py.Group, name: str, kind: str, reader: str) -> h5py.Group:
    """A group of EMD's ``kind``; ``reader`` is the class of emdfile that reads it."""
    group = parent.create_group(name)
    group.attrs["emd_group_type"] = kind
    group.attrs["python_class"] = reader
    return group


def _unit(unit: str) -> str:
    """A unit as EMD readers write it."""
    return {"angstrom": "A", "1": ""}.get(unit, unit)
