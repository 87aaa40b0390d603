"""torchvision beside a CPU build of torch, for the peers that import it."""

from __future__ import annotations

import sys

import torch

_DECLARATIONS = torch.library.Library("torchvision", "FRAGMENT")
"""Kept as long as the process runs, for its operators vanish with it."""


def import_torchvision() -> None:
    """Import torchvision, which PtyRAD and pty-chi need, beside a CPU build of torch.

    The wheel on PyPI is built for CUDA. With a CPU build of torch its C++ part does not load, and its Python part then
    fails to register fakes for two operators. Nothing here uses these, so it is enough to declare them.
    """
    try:
        import torchvision
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for operator in ("nms", "qnms"):
            _DECLARATIONS.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision  # noqa: F401
