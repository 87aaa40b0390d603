"""The report of a study: one HTML file with the answer, the evidence and how to reproduce it.

Importing this imports matplotlib; fitting the surrogate again imports torch.
"""

from __future__ import annotations

from autotune.report.page import Written, write_report

__all__ = ["Written", "write_report"]
