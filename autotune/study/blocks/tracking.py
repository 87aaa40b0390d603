"""The block ``tracking:``, which says where the search is recorded in MLflow."""

from __future__ import annotations

from pydantic import Field, field_validator

from autotune.study.blocks.block import Block
from autotune.text import without_password


class TrackingSpec(Block):
    """Where the search is recorded in MLflow."""

    enabled: bool = True
    """Whether trials are recorded in MLflow."""
    uri: str | None = Field(default=None, min_length=1)
    """MLflow tracking URI; null for that of the variable MLFLOW_TRACKING_URI, else for the database in .autotune/."""
    experiment: str | None = Field(default=None, min_length=1)
    """Name of the MLflow experiment; null for autotune."""

    @field_validator("uri")
    @classmethod
    def _without_password(cls, uri: str | None) -> str | None:
        if uri is not None and without_password(uri) != uri:
            raise ValueError(
                "holds a password, but a study file is passed on and recorded; leave it out here, and set "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_URI to the whole address"
            )
        return uri
