"""The packages themselves, where they are installed (``autotune backends install NAME``)."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest

from autotune.objective import ExportsMeasurement, Objective, Value
from autotune.testing import BackendConformance
from objectives.diffraction.data.measurement import Measurement
from objectives.ptychography.backends import process
from objectives.ptychography.backends.environments import FOLDER, folder_of, is_installed, python_of
from objectives.ptychography.backends.process import BackendFailed
from objectives.ptychography.backends.table import find_backend
from objectives.ptychography.solvers.state import to_the_end
from tests.docs.pages import ROOT
from tests.objectives.ptychography.backends.toys import objective
from tests.objectives.ptychography.scenes import TRUTH, lens

pytestmark = pytest.mark.slow
COUNTS: dict[str, Value] = {"iterations": 10, "batch_size": 5}
"""Of 25 patterns."""
PROGRAMS = Path(process.__file__).parent / "programs"
PREAMBLE = """
import runpy, sys
host = runpy.run_path(sys.argv[1] + "/host.py")
sys.modules["__main__"].import_torchvision = host["import_torchvision"]
runpy.run_path(f"{sys.argv[1]}/{sys.argv[2]}.py")["open_package"]()  # with its work-arounds
"""


@cache
def opened(name: str, **options: Any) -> Any:
    backend = find_backend(name)
    if not is_installed(backend):
        pytest.skip(f"{name} is not in {folder_of(backend)} ({FOLDER}): autotune backends install {name}")
    return objective(lens(), backend, str(python_of(backend, None, folder_of(backend))), **options)


def opened_on(name: str, measurement: Measurement) -> Any:
    opened(name)  # or skip
    backend = find_backend(name)
    return objective(measurement, backend, str(python_of(backend, None, folder_of(backend))))


def narrow() -> Measurement:
    """Patterns of 24 x 20 pixels."""
    whole = lens()
    return replace(whole, patterns=whole.patterns[:, :, 2:-2].copy(), valid=whole.valid[:, 2:-2].copy())


class Package(BackendConformance):
    name: ClassVar[str]
    titled: ClassVar[str]
    reconverged = False
    counts: ClassVar[dict[str, Value]] = COUNTS
    difference_of_modes: ClassVar[float] = 1e-3

    def objective(self) -> Objective:
        return opened(self.name)  # type: ignore[no-any-return]

    def values(self) -> dict[str, Value]:
        return {**TRUTH, **self.counts}

    def test_several_modes(self) -> None:
        found = self._at(self.objective(), {"probe": "refined", "probe_modes": 2})
        assert (
            found.arrays["probe"].shape == (2, 24, 24) and found.metrics["model_difference"] < self.difference_of_modes
        )
        assert found.metrics["consistency"] > 0.97 * self._at(self.objective(), {}).metrics["consistency"]

    def test_several_slices(self) -> None:
        """On a detector without distortion, where its propagator is ours."""
        if "slices" not in {parameter.name for parameter in self.objective().parameters()}:
            pytest.skip("one slice only")
        straight = dict.fromkeys(("center_offset_y", "center_offset_x", "elliptical_distortion"), 0.0)
        found = self._at(self.objective(), {**straight, "slices": 2, "thickness": 30.0})
        assert found.arrays["object"].shape[0] == 2 and found.metrics["model_difference"] < 1e-3

    def test_positions_stay_where_they_are(self) -> None:
        """Also of patterns that are not square, and of those that are withheld."""
        for measurement in (lens(), narrow()):
            problem = opened_on(self.name, measurement)
            reconstruction, _ = problem._reconstruction(self.values(), "held_out_consistency")
            try:
                state = reconstruction.run(to_the_end, 0)
            except BackendFailed as error:
                assert "square" in str(error)
                continue
            assert state.moved.std(dim=0).max() < 1e-3

    def test_it_goes_on_from_its_own_files(self, tmp_path: Path) -> None:
        """As docs/go-on-in-a-package.md says: from where it ended, which one more start does not reach."""
        objective, at = self.objective(), {**self.values(), "iterations": 20}
        first = self._at(objective, {"iterations": 1}).metrics["backend_loss"]
        found = self._at(objective, at)
        assert isinstance(objective, ExportsMeasurement) and found.remarks == []
        objective.export_measurement(at, metric="consistency", path=tmp_path / "measurement.h5")
        for name, content in found.files.items():
            (tmp_path / name).write_bytes(content)
        (tmp_path / "go_on.py").write_text(f"{PREAMBLE}\n{self.go_on()}\nprint(float(loss))\n")
        python = python_of(find_backend(self.name), None, tmp_path)
        command = [python, "go_on.py", str(PROGRAMS), self.name]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        last = float(done.stdout.split()[-1])
        ended = found.metrics["backend_loss"]
        assert abs(last - ended) < 0.1 * (first - ended), "another problem would have another loss"

    def go_on(self) -> str:
        """The lines of the page."""
        section = (ROOT / "docs" / "go-on-in-a-package.md").read_text().split(f"## {self.titled}\n")[1]
        return section.split("```python\n")[1].split("```")[0]

    def test_an_unknown_option_is_named(self) -> None:
        with pytest.raises(Exception, match=r"no_such\.option"):
            self._at(opened(self.name, **{"no_such.option": 1}), {})


class TestPy4DSTEM(Package):
    name = "py4dstem"
    titled = "py4DSTEM"

    def test_an_option_acts(self) -> None:
        held = opened(self.name, **{"reconstruct.q_lowpass": 0.2})
        assert self._at(held, {}).metrics["consistency"] < self._at(self.objective(), {}).metrics["consistency"] - 1e-3


class TestPtyRAD(Package):
    name = "ptyrad"

    def go_on(self) -> str:
        """What ``ptyrad run`` does, which Python 3.11 cannot import."""
        return (
            "from ptyrad.params.parser import load_params\n"
            "from ptyrad.solver import PtyRADSolver\n"
            "solver = PtyRADSolver(load_params('ptyrad_params.yaml'), device='cpu')\n"
            "solver.run()\n"
            "loss = solver.reconstruct_results.loss_iters[-1][1]"
        )

    def test_an_option_acts(self) -> None:
        held = opened(self.name, **{"model_params.update_params.obja.start_iter": None})
        changed = self._at(held, {})
        assert abs(changed.arrays["object"]).std() < 1e-3 and changed.gradient == {}


class TestPtyChi(Package):
    name = "ptychi"
    titled = "pty-chi"
    difference_of_modes = 0.02  # it moves the first mode alone by less than a pixel

    @pytest.mark.parametrize("method", ["LSQML", "ePIE", "rPIE", "DM"])
    def test_its_other_methods(self, method: str) -> None:
        found = self._at(self.objective(), {"method": method, "iterations": 30 if method == "DM" else 10})
        assert found.metrics["model_difference"] < 1e-3 and found.metrics["consistency"] > 0.5

    def test_an_option_acts(self) -> None:
        held = opened(self.name, **{"object_options.step_size": 1e-9})
        assert abs(self._at(held, {}).arrays["object"]).std() < 1e-3


class TestQuantem(Package):
    name = "quantem"
    titled = "quantem"

    def test_its_other_losses(self) -> None:
        for loss in ("amplitude", "poisson"):
            found = self._at(self.objective(), {"loss": loss})
            assert found.metrics["model_difference"] < 1e-3 and found.metrics["consistency"] > 0.5


class TestPhaser(Package):
    name = "phaser"
    titled = "phaser"
    counts: ClassVar[dict[str, Value]] = {"iterations": 10, "grouping": 5}

    @pytest.mark.parametrize("method", ["lsqml", "epie"])
    def test_its_other_methods(self, method: str) -> None:
        found = self._at(self.objective(), {"method": method})
        assert found.metrics["model_difference"] < 1e-3 and found.metrics["consistency"] > 0.5

    def test_its_other_noise_models(self) -> None:
        for noise_model in ("amplitude", "poisson"):
            found = self._at(self.objective(), {"noise_model": noise_model})
            assert found.metrics["model_difference"] < 1e-3 and found.metrics["consistency"] > 0.5

    def test_an_option_acts(self) -> None:
        held = self._at(opened(self.name, **{"update_object": False}), {})
        assert abs(held.arrays["object"] - 1).max() == 0

    def test_options_of_a_solver_and_of_regularizers(self) -> None:
        """One that refines positions, which it does not unasked."""
        options = {
            "solvers.positions": {"type": "sgd", "learning_rate": 1e-4},
            "update_positions": True,
            "solvers.object.b1": 0.8,
            "regularizers": [{"type": "obj_tikh", "cost": 1.0}],
        }
        moved = self._at(opened.__wrapped__(self.name, **options), {})
        assert moved.metrics["model_difference"] < 1e-3
        with pytest.raises(Exception, match=r"solvers\.object\.no_such"):
            self._at(opened(self.name, **{"solvers.object.no_such": 1}), {})
