"""Where the machine code of compiled loops is kept, of either wing; and that having no place is no error."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import pytest
from numba.core import caching

import autotune.surrogate.model.compiled as of_the_surrogate
import objectives.ptychography.model.kernels.compiled as of_the_physics

ROOT = Path(of_the_physics.__file__).parents[4]
NAME = f"autotune-numba-{os.geteuid()}"
WINGS = pytest.mark.parametrize("wing", [of_the_surrogate, of_the_physics], ids=["surrogate", "physics"])


def twice(x: float) -> float:
    return 2 * x


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No home of autotune's, and a temporary folder of the test's own."""
    monkeypatch.delenv("AUTOTUNE_HOME", raising=False)
    (tmp_path / "temporary").mkdir(mode=0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    tmp_path.chmod(0o755)
    before = numba.config.CACHE_DIR
    yield
    assert before == numba.config.CACHE_DIR


@pytest.fixture
def no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba finds no place: neither beside the source nor in a user's cache."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [caching.UserProvidedCacheLocator])


def place(loop: Any) -> Path | None:
    """The folder in which a loop is kept; None if nowhere."""
    assert loop(1.5) == 3.0
    return None if loop._cache.cache_path is None else Path(loop._cache.cache_path)


@WINGS
def test_numba_keeps_it_where_it_can(wing: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "stated"))
    kept = place(wing.compiled(twice))
    assert kept is not None and kept.parent == tmp_path / "stated"
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    assert place(wing.compiled(twice)) == place(numba.njit(cache=True)(twice))


@WINGS
def test_elsewhere_it_is_kept_in_the_home_folder(
    wing: ModuleType, no_place: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir(mode=0o755)
    monkeypatch.setenv("AUTOTUNE_HOME", str(tmp_path / "home"))
    first, second = wing.compiled(twice), None
    kept = place(first)
    assert kept is not None and kept.parent == tmp_path / "home" / NAME
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    second = wing.compiled(twice)
    assert place(second) == kept
    assert (sum(first.stats.cache_hits.values()), sum(second.stats.cache_hits.values())) == (0, 1)


def absent(home: Path) -> None:
    """Not made by a mere import."""


def open_to_everybody(home: Path) -> None:
    home.mkdir()
    home.chmod(0o777)


@WINGS
@pytest.mark.parametrize("spoil", [absent, open_to_everybody])
def test_without_a_safe_home_folder_it_is_kept_in_the_temporary_one(
    wing: ModuleType, spoil: Callable[[Path], None], no_place: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    spoil(home)
    temporary.chmod(0o1777)  # sticky: others may write, but not put a folder of theirs in this one's place
    monkeypatch.setenv("AUTOTUNE_HOME", str(home))
    kept = place(wing.compiled(twice))
    assert kept is not None and kept.parent == temporary / NAME
    assert not home.exists() or not list(home.iterdir())


def folder_open_to_others(temporary: Path) -> None:
    (temporary / NAME).mkdir()
    (temporary / NAME).chmod(0o770)


def link(temporary: Path) -> None:
    (temporary / "elsewhere").mkdir(mode=0o700)
    (temporary / NAME).symlink_to("elsewhere")


def file(temporary: Path) -> None:
    (temporary / NAME).touch(mode=0o700)


def below_an_open_folder(temporary: Path) -> None:
    temporary.parent.chmod(0o777)


@WINGS
@pytest.mark.parametrize("spoil", [folder_open_to_others, link, file, below_an_open_folder])
def test_a_folder_that_others_could_fill_is_not_used(
    wing: ModuleType, spoil: Callable[[Path], None], no_place: None, tmp_path: Path
) -> None:
    """Numba would run what it reads there. The loop is compiled anew, and works."""
    spoil(tmp_path / "temporary")
    before = sorted(tmp_path.rglob("*"))
    assert place(wing.compiled(twice)) is None
    assert sorted(tmp_path.rglob("*")) == before


@WINGS
def test_no_temporary_folder_at_all(wing: ModuleType, no_place: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    assert place(wing.compiled(twice)) is None


def test_a_read_only_installation_without_a_home_folder(tmp_path: Path) -> None:
    """The loops of both wings, in a mount of their own, since permissions do not bind root."""
    namespace = ["unshare", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*namespace, "true"], check=False).returncode != 0:
        pytest.skip("needs a mount namespace, and for that root")
    program = (
        "from autotune.surrogate.model.compiled_loops import _profile; "
        "from objectives.ptychography.model.kernels.fused_loops import transmit; "
        "print(_profile(0.5, True)[0]); print(_profile._cache.cache_path, transmit._cache.cache_path, sep='\\n')"
    )
    script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'
    command = [*namespace, "sh", "-c", script, "sh", str(ROOT), sys.executable, "-c", program]
    # "~" is what the home folder of a user is who has no entry in the system's list.
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": "~", "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    value, *places = done.stdout.split()
    assert value.startswith("0.778")
    assert {Path(kept).parent for kept in places} == {tmp_path / NAME}
    assert {path.name for path in tmp_path.iterdir()} == {NAME, "temporary"}  # and none called "~"


@WINGS
def test_numba_that_compiles_nothing_keeps_nothing(wing: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    assert wing.compiled(twice)(1.5) == 3.0


def test_the_two_wings_do_the_same() -> None:
    """They share no code, so that the same lines stand in both; a mend of one belongs into the other."""
    for name in ("_keep", "_places", "_has_user_cache", "_temporary", "_owner_only"):
        one, other = (inspect.getsource(getattr(wing, name)) for wing in (of_the_physics, of_the_surrogate))
        assert one == other, name
