"""How a loop is compiled."""

from __future__ import annotations

import numba

compiled = numba.njit(
    cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "arcp", "nsz", "afn"}
)
"""Without what would hide NaN and infinity, by which a diverged reconstruction is recognised."""
