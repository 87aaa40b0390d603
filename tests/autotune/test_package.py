"""The package's public names: all there, lazily, and known to type checkers under the same names."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import autotune

HEAVY = ("torch", "optuna", "mlflow", "botorch", "gpytorch", "matplotlib", "pydantic", "numpy")


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = f"import autotune, sys; print([name for name in {HEAVY} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_command_line_imports_nothing_heavy() -> None:
    code = f"import autotune.cli.app, sys; print([name for name in {HEAVY[:5]} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_entry_of_the_command_imports_next_to_nothing() -> None:
    """Signals that come during the imports are handled from here."""
    code = f"import autotune.cli.main, sys; print([name for name in {(*HEAVY, 'typer')} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("name", sorted(set(autotune.__all__) - {"__version__"}))
def test_every_public_name_is_the_one_of_its_module(name: str) -> None:
    value = getattr(autotune, name)
    assert value.__name__ == name
    assert name in dir(autotune)


def test_the_door_and_the_tuner_are_public() -> None:
    wanted = (
        "load_study run_study Tuner Search Space Dimension TrialStore Evaluation Metric Parameter Status Home Quiet"
    )
    assert set(wanted.split()) <= set(autotune.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Tuna'"):
        _ = autotune.Tuna  # type: ignore[attr-defined]


def test_the_stub_names_the_same_modules() -> None:
    stub = ast.parse(Path(autotune.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    named = {node.names[0].name: node.module for node in stub.body if isinstance(node, ast.ImportFrom)}
    assert named == autotune._ROOMS
