"""A SLURM of this machine that the tests of a module share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.slurm.server import NoSlurm, Slurm, slurm


@pytest.fixture(scope="module")
def cluster() -> Iterator[Slurm]:
    try:
        with slurm() as running:
            yield running
    except NoSlurm as error:
        pytest.skip(f"no SLURM can be set up here: {error}")
