"""A parameter file of PtyRAD becomes a study that PtyRAD reconstructs, under our names, units and signs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from autotune.objective import Draft, InputError
from autotune.study import load_study, plan_study
from autotune.study.draft import find_draft, write_draft
from objectives.ptychography.backends.environments import folder_of
from objectives.ptychography.backends.table import find_backend
from objectives.ptychography.draft.ptyrad_params import read_params
from objectives.ptychography.plugin import ptychography
from objectives.ptychography.settings import PtychographySettings

INIT: dict[str, Any] = {
    "probe_kv": 80,
    "probe_conv_angle": 24.0,
    "probe_aberrations": {"C10": -90, "C12": 12, "phi12": 30, "C30": 20000},
    "meas_Npix": 16,
    "pos_N_scan_slow": 3,
    "pos_N_scan_fast": 4,
    "pos_scan_step_size": 0.5,
    "pos_scan_affine": [1.02, 0, 3.0, 0],
    "meas_calibration": {"mode": "da", "value": 3.5},
    "meas_flipT": [1, 0, 0],
    "probe_pmode_max": 6,
    "obj_Nlayer": 6,
    "obj_slice_thickness": 2.5,
    "meas_params": {"path": "scan.h5", "key": "dp"},
}
REST: dict[str, Any] = {
    "recon_params": {"NITER": 40, "BATCH_SIZE": {"size": 24, "grad_accumulation": 1}},
    "loss_params": {
        "loss_single": {"state": True, "weight": 1.0, "dp_pow": 0.5},
        "loss_sparse": {"state": True, "weight": 0.1},
    },
    "constraint_params": {"obj_zblur": {"start_iter": 1, "std": 1, "end_iter": None}},
    "model_params": {"update_params": {"objp": {"lr": 5e-4}, "probe": {"lr": 1e-4}}},
}  # fmt: skip
TUNES = {
    "if_hypertune": True,
    "tune_params": {
        "C10": {"state": True, "suggest": "float", "kwargs": {"low": -150, "high": -50}},
        "rotation": {"state": True, "suggest": "float", "kwargs": {"low": -4, "high": 4}},
        "Nlayer": {"state": True, "suggest": "int", "kwargs": {"low": 4, "high": 8}},
        "conv_angle": {"state": False, "suggest": "float", "kwargs": {"low": 24, "high": 26}},
    },
}


def params(folder: Path, changes: Mapping[str, Any] | None = None, **more: Any) -> Path:
    with h5py.File(folder / "scan.h5", "w") as file:
        file["dp"] = np.random.default_rng(0).poisson(3, (12, 16, 16)).astype(np.uint16)
    path = folder / "params.yaml"
    init = {name: value for name, value in {**INIT, **(changes or {})}.items() if value != "absent"}
    YAML().dump({"init_params": init, **REST, **more}, path)
    return path


def drafted(path: Path) -> tuple[dict[str, Any], dict[str, Any], Draft]:
    draft = ptychography.draft(path, folder=path.parent)
    assert draft is not None
    by_status = [{line.key: line.value for line in draft.lines if line.status == s} for s in ("set", "optional")]
    assert not [line.key for line in draft.lines if line.status == "missing"]
    return by_status[0], by_status[1], draft


def test_names_units_and_signs(tmp_path: Path) -> None:
    lines, optional, draft = drafted(params(tmp_path))
    expected = {
        "objective.data.file": "scan.h5",
        "objective.data.key": "dp",
        "objective.data.shape": [3, 4],
        "objective.data.orientation": {"flip_y": True},
        "objective.geometry.energy_kev": 80,
        "objective.geometry.semi_convergence_mrad": 24,
        "objective.geometry.angular_sampling_mrad": 3.5,
        "objective.geometry.defocus_angstrom": 90,
        "objective.geometry.scan_rotation_degree": 3,
        "objective.geometry.scan_step_angstrom": 0.5,
        "objective.backend.name": "ptyrad",
        "parameters.astigmatism": 12.0,
        "parameters.astigmatism_angle": 30.0,
        "parameters.spherical_aberration": 2.0,
        "parameters.scan_scale": 2.0,
        "parameters.slices": 6,
        "parameters.thickness": 15.0,
        "parameters.iterations": 40,
        "parameters.batch_size": 24,
        "parameters.dp_pow": 0.5,
        "parameters.object_learning_rate": 5e-4,
    }
    assert {key: lines.get(key) for key in expected} == expected
    assert lines["objective.backend.options"] == {
        "loss_params.loss_sparse.state": True,
        "loss_params.loss_sparse.weight": 0.1,
        "constraint_params.obj_zblur.start_iter": 1,
        "constraint_params.obj_zblur.std": 1,
    }
    assert lines["parameters.defocus"] == {"low": -210, "high": 390}
    assert (optional["parameters.probe"], optional["parameters.probe_modes"]) == ("refined", 6)
    assert optional["parameters.probe_learning_rate"] == 1e-4, "while the probe is held it would be a mistake"
    assert not {"parameters.detector_blur", "parameters.convergence_angle"} & {*lines, *optional}
    assert "not taken over" not in draft.facts
    stated: dict[str, Any] = {}
    for key, value in lines.items():
        if key.startswith("objective."):
            section, _, name = key.removeprefix("objective.").partition(".")
            stated.setdefault(section, {})[name] = value
    PtychographySettings.model_validate(stated)


def test_its_own_search_is_taken_over(tmp_path: Path) -> None:
    lines, _, _ = drafted(params(tmp_path, hypertune_params=TUNES))
    tuned = {key: value for key, value in lines.items() if isinstance(value, dict) and "low" in value}
    assert tuned == {
        "parameters.defocus": {"low": 50.0, "high": 150.0},
        "parameters.scan_rotation": {"low": -4.0, "high": 4.0},
        "parameters.slices": {"low": 4, "high": 8},
    }


def test_one_slice_has_no_thickness(tmp_path: Path) -> None:
    lines, _, _ = drafted(params(tmp_path, {"obj_Nlayer": 1}))
    assert not {"parameters.slices", "parameters.thickness"} & set(lines)


WAVELENGTH = 0.0417572


@pytest.mark.parametrize(
    ("mode", "value", "mrad"),
    [
        ("da", 3.0, 3.0),
        ("angleMax", 24.0, 3.0),
        ("dk", 3e-3 / WAVELENGTH, 3.0),
        ("kMax", 24e-3 / WAVELENGTH, 3.0),
        ("dx", WAVELENGTH / (16 * 3e-3), 3.0),
        ("n_alpha", 1.0, 3.0),
        ("RBF", 8.0, 3.0),
    ],
)
def test_every_calibration(mode: str, value: float, mrad: float, tmp_path: Path) -> None:
    lines, _, _ = drafted(params(tmp_path, {"meas_calibration": {"mode": mode, "value": value}}))
    assert lines["objective.geometry.angular_sampling_mrad"] == pytest.approx(mrad, rel=1e-5)


def test_what_is_fitted_there_is_asked_for(tmp_path: Path) -> None:
    draft = ptychography.draft(params(tmp_path, {"meas_calibration": "absent"}), folder=tmp_path)
    assert draft is not None
    assert [line.key for line in draft.lines if line.status == "missing"] == [
        "objective.geometry.angular_sampling_mrad"
    ]


def test_what_has_no_place_is_said(tmp_path: Path) -> None:
    more = {
        "recon_params": {"NITER": 3, "INDICES_MODE": {"mode": "center"}, "GROUP_MODE": "sparse"},
        "model_params": {"detector_blur_std": 0.5, "update_params": {"obja": {"lr": 1e-3, "start_iter": 5}}},
        "loss_params": {"loss_single": {"state": False}, "loss_poissn": {"state": True, "weight": 1.0}},
        "hypertune_params": {"if_hypertune": True, "tune_params": {
            "dx": {"state": True, "kwargs": {"low": 0.1, "high": 0.2}},
            "scale": {"state": True, "kwargs": {"low": 0.9, "high": 1.1}},
            "oplr": {"state": True, "kwargs": {"low": 1e-4, "high": 1e-2, "log": True}},
        }},
    }  # fmt: skip
    changes = {"meas_pad": {"mode": "on_the_fly"}, "pos_source": "PtyRAD", "pos_scan_affine": [1, 0.1, 0, 0],
               "probe_aberrations": {"C10": 0, "C21": 500}}  # fmt: skip
    path = params(tmp_path, changes)
    content = YAML(typ="safe").load(path.read_text())
    YAML().dump({**content, **more}, path)
    lines, _, draft = drafted(path)
    said = draft.facts["not taken over"]
    for name in ("meas_pad", "pos_source", "asymmetry", "C21", "INDICES_MODE", "detector_blur_std", "obja.lr",
                 "obja.start_iter", "tune_params.dx"):  # fmt: skip
        assert name in said
    assert (lines["parameters.loss"], lines["parameters.group_mode"]) == ("poissn", "sparse")
    assert lines["parameters.scan_scale"] == {"low": -10.0, "high": 10.0}
    assert lines["parameters.object_learning_rate"] == {"low": 1e-4, "high": 1e-2, "log": True}
    assert "tune_params.scale" not in said and "NITER" not in said


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"params.yaml: init_params.meas_params.path: none.h5 is no file"):
        ptychography.draft(params(tmp_path, {"meas_params": {"path": "none.h5"}}), folder=tmp_path)
    with pytest.raises(InputError, match="'eighty' is no number"):
        ptychography.draft(params(tmp_path, {"probe_kv": "eighty"}), folder=tmp_path)


@given(content=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_other_files_are_none_of_its(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("other") / "study.yaml"
    path.write_bytes(content)
    assert read_params(path) is None


TEMPLATES = sorted(
    path
    for folder in folder_of(find_backend("ptyrad")).glob("lib/python*/site-packages/ptyrad/starter/params")
    for path in folder.rglob("*.yaml")
)


@pytest.mark.parametrize("template", TEMPLATES or [None], ids=lambda path: path.stem if path else "none")
def test_a_study_of_each_of_its_templates_is_valid(template: Path | None, tmp_path: Path) -> None:
    """Their names and structure, with a small measurement in place of theirs."""
    if template is None:
        pytest.skip("ptyrad is not installed: autotune backends install ptyrad")
    content = YAML(typ="safe", pure=True).load(template.read_text(encoding="utf-8"))
    content["init_params"].update({name: INIT[name] for name in (
        "meas_Npix", "pos_N_scan_slow", "pos_N_scan_fast", "meas_params", "meas_calibration", "probe_kv",
        "probe_conv_angle")})  # fmt: skip
    params(tmp_path)
    YAML().dump(content, tmp_path / "params.yaml")
    name, draft = find_draft(tmp_path / "params.yaml", tmp_path, "ptychography")
    write_draft(tmp_path / "study.yaml", "study", name, tmp_path / "params.yaml", draft, replace=False)
    file = load_study(tmp_path / "study.yaml")
    with file.locating():
        plan_study(file, file.open())


def test_aliases_are_refused(tmp_path: Path) -> None:
    """Nine of them, of nine each, would be more than any memory."""
    lines = ["init_params: {probe_kv: 80}", "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    (tmp_path / "params.yaml").write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"params.yaml: uses an alias \(\*name\); write the value out"):
        read_params(tmp_path / "params.yaml")
