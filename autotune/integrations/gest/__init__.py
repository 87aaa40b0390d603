"""The generator of gest-api 0.2: the tuner as a part of Xopt, optimas, libEnsemble and blop.

Source of the interface: https://github.com/campa-consortium/gest-api

It needs the extra ``gest``. Importing ``autotune`` does not import it.
"""

from __future__ import annotations

from autotune.integrations.gest.generator import Generator

__all__ = ["Generator"]
