"""The frameworks that use gest-api really run our generator, each in an environment of its own.

``AUTOTUNE_GEST_ENVIRONMENTS`` names a folder with one virtual environment per framework (``xopt``, ``optimas``,
``libensemble``, ``blop``), in which the framework, gest-api and what autotune needs are installed; autotune itself is
taken from this checkout.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
VARIABLE = "AUTOTUNE_GEST_ENVIRONMENTS"
IMPORTS = {
    "xopt": "xopt",
    "optimas": "optimas, libensemble",
    "libensemble": "libensemble",
    "blop": "blop.plans, bluesky.run_engine",
}


def python_of(framework: str) -> Path:
    """The framework's Python; the test is skipped where it is not there, or cannot import what it needs."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        pytest.skip(f"{VARIABLE} names no folder of environments, so {framework} is not run")
    python = Path(folder) / framework / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{framework} is not run: there is no {python}")
    code = f"import gest_api, optuna, botorch, {IMPORTS[framework]}"
    tried = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"{framework} is not run: {tried.stderr.strip().splitlines()[-1]}")
    return python


@pytest.mark.slow
@pytest.mark.parametrize("framework", sorted(IMPORTS))
def test_the_framework_runs_a_search(framework: str, tmp_path: Path) -> None:
    script = Path(__file__).parent / "frameworks" / f"run_{framework}.py"
    done = subprocess.run(
        [python_of(framework), script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "ok"
