"""Draft a study from a parameter file of PtyRAD, so that its user tunes the reconstruction that it describes.

The measurement file that it names is looked at as any other; what the parameters say of instrument, scan and model
takes the place of what that file says, under our names, units and signs (docs/backends.md). What there is no place for
is listed, never dropped in silence.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent

from autotune.objective import DraftLine, InputError, Problem
from objectives.diffraction.data.radiation import electron_wavelength_angstrom
from objectives.diffraction.data.settings import GeometrySettings

_NOTHING: tuple[Any, ...] = (None, False, [], [0, 0, 0], "", {})
SUFFIXES = (".yaml", ".yml", ".json")
_LARGEST = 2**20
_SECTION = "init_params"
SAID = "as PtyRAD's parameters say"
_OURS = {
    "loss_params": {
        "loss_single.state",
        "loss_single.weight",
        "loss_single.dp_pow",
        "loss_poissn.state",
        "loss_poissn.weight",
    },
    "constraint_params": set(),
}
"""Sections that go into ``backend.options`` as they are, and what of them has a parameter of ours."""


_TAKEN = {
    "init_params": {
        "probe_kv",
        "probe_conv_angle",
        "probe_aberrations",
        "meas_Npix",
        "meas_calibration",
        "meas_flipT",
        "meas_params",
        "pos_N_scans",
        "pos_N_scan_slow",
        "pos_N_scan_fast",
        "pos_scan_step_size",
        "pos_scan_affine",
        "probe_pmode_max",
        "obj_Nlayer",
        "obj_slice_thickness",
    },
    "recon_params": {"NITER", "BATCH_SIZE.size", "BATCH_SIZE.grad_accumulation", "GROUP_MODE"},
    "model_params": {
        "update_params.objp.lr",
        "update_params.probe.lr",
        "update_params.probe_pos_shifts.lr",
        "optimizer_params.name",
    },
}
"""Names that are taken over, or judged one by one."""
_HARMLESS = {
    "init_params": {"random_seed", "probe_illum_type", "meas_source", "probe_pmode_init_pows", "meas_export"},
    "recon_params": {
        "SAVE_ITERS",
        "output_dir",
        "recon_dir_affixes",
        "prefix_time",
        "prefix",
        "postfix",
        "save_result",
        "result_modes",
        "selected_figs",
        "copy_params",
        "compiler_configs",
        "if_quiet",
    },
    "model_params": set(),
}
"""Names that change no reconstruction."""
_ABERRATIONS = (("C12", "astigmatism", 1.0), ("phi12", "astigmatism_angle", 1.0), ("C30", "spherical_aberration", 1e-4))
_SEARCHED: Mapping[str, tuple[str, float]] = {
    "C10": ("defocus", -1.0),
    "C12": ("astigmatism", 1.0),
    "C30": ("spherical_aberration", 1e-4),
    "conv_angle": ("convergence_angle", 1.0),
    "rotation": ("scan_rotation", 1.0),
    "scale": ("scan_scale", 100.0),
    "Nlayer": ("slices", 1.0),
    "batch_size": ("batch_size", 1.0),
    "oplr": ("object_learning_rate", 1.0),
}
"""Its name in a hyperparameter search -> ours, and the factor from its unit to ours."""


class PtyRADParams:
    """What a parameter file says.

    Args:
        file: the file, for messages.
        content: all of it.
    """

    def __init__(self, file: Path, content: Mapping[str, Any]) -> None:
        self._file, self._all = file, content
        self._init: Mapping[str, Any] = content[_SECTION]

    def measurement(self) -> Path:
        """The measurement file: its path counts from the folder of the parameters, or from the one that one is in.

        Raises:
            InputError: there is none.
        """
        stated = self._init.get("meas_params")
        path = stated.get("path") if isinstance(stated, Mapping) else stated
        where = f"{self._file}: {_SECTION}.meas_params.path"
        if not isinstance(path, str):
            raise InputError(Problem(where, f"{path!r} is no path", "name the measurement file"))
        for folder in (self._file.parent, Path()):
            if (folder / Path(path).expanduser()).is_file():
                return folder / Path(path).expanduser()
        remedy = f"relative paths are looked for in {self._file.parent.resolve()} and {Path().resolve()}"
        raise InputError(Problem(where, f"{path} is no file", remedy))

    def geometry(self) -> GeometrySettings:
        """The instrument's geometry.

        Raises:
            InputError: a value is none that it can have.
        """
        alpha, size = self._number("probe_conv_angle"), self._number("meas_Npix")
        stated: dict[str, Any] = {
            "energy_kev": self._number("probe_kv"),
            "semi_convergence_mrad": alpha,
            "scan_step_angstrom": self._number("pos_scan_step_size"),
            "scan_rotation_degree": self._affine(2),
            "defocus_angstrom": self._defocus(),
        }
        if stated["energy_kev"] is not None:
            stated["radiation"] = "electron"
            stated |= self._sampling(electron_wavelength_angstrom(stated["energy_kev"]), alpha, size)
        return GeometrySettings(**{name: value for name, value in stated.items() if value is not None})

    def data(self) -> Iterator[DraftLine]:
        """How the measurement file is read."""
        key = self._init.get("meas_params")
        if isinstance(key, Mapping) and isinstance(key.get("key"), str):
            yield DraftLine("objective.data.key", key["key"], SAID)
        turn = self._init.get("meas_flipT")
        if isinstance(turn, list) and any(turn):
            names = ("flip_y", "flip_x", "transpose")
            yield DraftLine(
                "objective.data.orientation", {n: True for n, on in zip(names, turn, strict=True) if on}, SAID
            )
        yield DraftLine("objective.backend.name", "ptyrad", "autotune backends install ptyrad")
        options = dict(self._options())
        if options:
            text = "PtyRAD's own, as its parameters say; while there are any, derivatives are not used"
            yield DraftLine("objective.backend.options", options, text)

    def scan(self) -> tuple[int, int] | None:
        """(rows, columns) of the raster."""
        rows, columns = self._init.get("pos_N_scan_slow"), self._init.get("pos_N_scan_fast")
        return (rows, columns) if isinstance(rows, int) and isinstance(columns, int) else None

    def parameters(self) -> dict[str, DraftLine]:
        """Parameters of the study by name: those that its hyperparameter search tunes, then those that are held."""
        lines = {line.key.removeprefix("parameters."): line for line in (*self._held(), *self._searched())}
        if "slices" in lines and lines["slices"].value == 1:
            del lines["slices"], lines["thickness"]
        return lines

    @property
    def searches(self) -> bool:
        """Whether it tunes anything by itself."""
        return any(True for _ in self._searched())

    def left_out(self) -> list[str]:
        """Names of what it says that no study can, which may change the reconstruction."""
        found = [f"{section}.{name}" for section, name, _ in self._no_place()]
        if self._affine(1) or self._affine(3):
            found.append(f"{_SECTION}.pos_scan_affine (asymmetry, shear)")
        known = {"C10", "C12", "phi12", "C30", "defocus"}
        found += [f"{_SECTION}.probe_aberrations.{name}" for name in self._aberrations() if name not in known]
        return found + [f"tune_params.{name}" for name, _ in self._tuned() if name not in _SEARCHED]

    def _tuned(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """What its hyperparameter search tunes, by its own names."""
        tuned = _at(self._all, "hypertune_params.tune_params")
        if not isinstance(tuned, Mapping) or not _at(self._all, "hypertune_params.if_hypertune"):
            return
        for name, described in tuned.items():
            if isinstance(described, Mapping) and described.get("state"):
                yield name, described

    def _no_place(self) -> Iterator[tuple[str, str, Any]]:
        """Section, name and value of what is stated, changes a reconstruction, and is not taken over."""
        for section, taken in _TAKEN.items():
            for name, value in _leaves(self._all.get(section) or {}):
                first = name.partition(".")[0]
                if {name, first} & (taken | _HARMLESS[section]) or value in _NOTHING:
                    continue
                if name.startswith("update_params.") and name.endswith((".start_iter", ".lr")) and value in (1, 0):
                    continue  # from the beginning, or never
                if name in ("probe_source", "pos_source", "obj_source", "tilt_source") and value == "simu":
                    continue
                yield section, name, value

    def _sampling(self, wavelength: float, alpha: float | None, size: float | None) -> dict[str, float]:
        """The scattering angle of a pixel, however it is stated; empty where it is to be fitted."""
        calibration = self._init.get("meas_calibration")
        if not isinstance(calibration, Mapping) or calibration.get("value") is None or size is None:
            return {}
        value, mode = float(calibration["value"]), calibration.get("mode")
        half, per_angstrom = size / 2, wavelength * 1e3
        mrad = {
            "da": value,
            "angleMax": value / half,
            "dk": value * per_angstrom,
            "kMax": value / half * per_angstrom,
            "dx": per_angstrom / (size * value),
            "n_alpha": math.nan if alpha is None else value * alpha / half,
            "RBF": math.nan if alpha is None else alpha / value,
        }.get(str(mode), math.nan)
        return {"angular_sampling_mrad": float(f"{mrad:.7g}")} if math.isfinite(mrad) and mrad > 0 else {}

    def _held(self) -> Iterator[DraftLine]:
        aberrations = self._aberrations()
        for theirs, ours, factor in _ABERRATIONS:
            if aberrations.get(theirs):
                yield DraftLine(f"parameters.{ours}", float(aberrations[theirs]) * factor, f"{SAID} ({theirs})")
        if (scale := self._affine(0)) and scale != 1:
            yield DraftLine("parameters.scan_scale", float(f"{100 * (scale - 1):.7g}"), f"%, {SAID}")
        layers = self._number("obj_Nlayer")
        thick = self._number("obj_slice_thickness")
        if layers is not None and thick is not None:
            yield DraftLine("parameters.slices", int(layers), SAID)
            yield DraftLine("parameters.thickness", float(f"{layers * thick:.7g}"), f"angstrom, {SAID}")
        rate = _at(self._all, "model_params.update_params.probe.lr")
        if rate is None or float(rate) > 0:
            text = f"{SAID}; a free probe makes up for defocus and centre, which can then not be known"
            yield DraftLine("parameters.probe", "refined", text, "optional")
            modes = int(self._number("probe_pmode_max") or 4)
            yield DraftLine("parameters.probe_modes", modes, SAID, "optional")
        if _at(self._all, "loss_params.loss_poissn.state"):
            yield DraftLine("parameters.loss", "poissn", SAID)
        for theirs, ours in (
            ("recon_params.NITER", "iterations"),
            ("recon_params.GROUP_MODE", "group_mode"),
            ("model_params.optimizer_params.name", "optimizer"),
            ("recon_params.BATCH_SIZE.size", "batch_size"),
            ("loss_params.loss_single.dp_pow", "dp_pow"),
            ("model_params.update_params.objp.lr", "object_learning_rate"),
            ("model_params.update_params.probe.lr", "probe_learning_rate"),
            ("model_params.update_params.probe_pos_shifts.lr", "position_learning_rate"),
        ):
            value = _at(self._all, theirs)
            if value is None or (value == 0 and ours.endswith("_rate") and ours != "position_learning_rate"):
                continue
            # Of a probe that is held it would be a mistake.
            status: Literal["set", "optional"] = "optional" if ours == "probe_learning_rate" else "set"
            yield DraftLine(f"parameters.{ours}", value, f"{SAID} ({theirs})", status)

    def _searched(self) -> Iterator[DraftLine]:
        for theirs, described in self._tuned():
            if theirs not in _SEARCHED:
                continue
            ours, factor = _SEARCHED[theirs]
            ends = [_at(described, f"kwargs.{end}") for end in ("low", "high")]
            if None not in ends:
                low, high = sorted(factor * (float(end) - (theirs == "scale")) for end in ends)
                whole = ours in ("slices", "batch_size")
                low, high = (float(f"{end:.9g}") for end in (low, high))
                value = {"low": int(low), "high": int(high)} if whole else {"low": low, "high": high}
                if _at(described, "kwargs.log"):
                    value["log"] = True
                yield DraftLine(f"parameters.{ours}", value, f"{SAID} (tune_params.{theirs})")

    def _options(self) -> Iterator[tuple[str, Any]]:
        accumulated = _at(self._all, "recon_params.BATCH_SIZE.grad_accumulation")
        if accumulated not in (None, 1):
            yield "recon_params.BATCH_SIZE.grad_accumulation", accumulated
        for section, ours in _OURS.items():
            for name, value in _leaves(self._all.get(section) or {}):
                if name in ours or value is None:
                    continue
                if isinstance(value, bool | int | float | str) or _numbers(value):
                    yield f"{section}.{name}", value

    def _aberrations(self) -> Mapping[str, Any]:
        found = self._init.get("probe_aberrations")
        return found if isinstance(found, Mapping) else {}

    def _defocus(self) -> float | None:
        c10 = self._aberrations().get("C10")
        return None if c10 is None else -float(c10) or 0.0

    def _affine(self, index: int) -> float | None:
        found = self._init.get("pos_scan_affine")
        return float(found[index]) if isinstance(found, list) and len(found) == 4 else None

    def _number(self, name: str) -> float | None:
        value = self._init.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(Problem(f"{self._file}: {_SECTION}.{name}", f"{value!r} is no number", "state one"))
        return float(value)


def read_params(file: Path) -> PtyRADParams | None:
    """The parameters in a file; None where it holds none of PtyRAD's."""
    if file.suffix.lower() not in SUFFIXES or not file.is_file() or file.stat().st_size > _LARGEST:
        return None
    try:
        text = file.read_text(encoding="utf-8")
        # Aliases of aliases make a page of text into more than any memory.
        if any(isinstance(event, AliasEvent) for event in YAML(typ="safe", pure=True).parse(text)):
            if _SECTION not in text:
                return None
            raise InputError(Problem(str(file), "uses an alias (*name)", "write the value out"))
        content = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(content, Mapping) or not isinstance(content.get(_SECTION), Mapping):
        return None
    return PtyRADParams(file, content)


def _at(content: Any, name: str) -> Any:
    """The value of a dotted name; None where there is none."""
    for part in name.split("."):
        content = content.get(part) if isinstance(content, Mapping) else None
    return content


def _leaves(content: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(n, int | float) and not isinstance(n, bool) for n in value)
