"""All that MLflow holds about a study, as plain data that can be compared."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any


def snapshot(uri: str, experiment: str, scratch: Path) -> list[dict[str, Any]]:
    """The parent run, then its children by number: all but ids and the moment at which the parent began.

    Args:
        uri: tracking URI.
        experiment: its name; one study is in it.
        scratch: a folder for what is downloaded; nothing is left there.
    """
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    runs = sorted(found, key=lambda run: int(run.data.tags.get("autotune.trial", -1)))
    names = {run.info.run_id: run.info.run_name for run in runs}
    return [_held(client, run, names, scratch) for run in runs]


def _held(client: Any, run: Any, names: dict[str, str], scratch: Path) -> dict[str, Any]:
    tags = dict(run.data.tags)
    parent = names.get(tags.pop("mlflow.parentRunId", ""))
    points = [
        (point.key, point.step, point.value, point.timestamp)
        for name in run.data.metrics
        for point in client.get_metric_history(run.info.run_id, name)
    ]
    return {
        "name": run.info.run_name,
        "parent": parent,
        "status": run.info.status,
        "began": run.info.start_time if parent else None,
        "end": run.info.end_time,
        "params": dict(run.data.params),
        "tags": tags,
        "points": sorted(points),
        "data": [_dataset(entry) for entry in run.inputs.dataset_inputs],
        "files": _files(client, run.info.run_id, scratch),
    }


def _dataset(entry: Any) -> dict[str, Any]:
    return {
        "name": entry.dataset.name,
        "digest": entry.dataset.digest,
        "source": json.loads(entry.dataset.source),
        "profile": json.loads(entry.dataset.profile),
        "tags": {tag.key: tag.value for tag in entry.tags},
    }


def _files(client: Any, run_id: str, scratch: Path) -> dict[str, bytes]:
    """Artifacts by path."""
    if not client.list_artifacts(run_id):
        return {}
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        root = Path(client.download_artifacts(run_id, "", folder))
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
