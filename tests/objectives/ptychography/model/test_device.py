from __future__ import annotations

import pytest
import torch

from objectives.ptychography.model.device import Machine


@pytest.mark.parametrize("inside_raises", [False, True])
def test_threads_are_set_inside_the_block_and_restored_after_it(inside_raises: bool) -> None:
    before = torch.get_num_threads()
    machine = Machine(torch.device("cpu"), torch.float32, threads=before + 1)
    try:
        with machine.threads_set():
            assert torch.get_num_threads() == before + 1
            if inside_raises:
                raise RuntimeError
    except RuntimeError:
        assert inside_raises
    assert torch.get_num_threads() == before


def test_complex_type_has_the_precision_of_the_real_one() -> None:
    assert Machine(torch.device("cpu"), torch.float32).complex is torch.complex64
    assert Machine(torch.device("cpu"), torch.float64).complex is torch.complex128
