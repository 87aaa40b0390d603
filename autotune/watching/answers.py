"""The answer beside a measurement: ``NAME.result.json``, written whole when its study has ended, however it did."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autotune.errors import AutotuneError, Problem
from autotune.files import write_json
from autotune.text import metric_text
from autotune.watching.records import Record

SCHEMA = 1
"""Version of the document; it changes when a key is removed or changes its meaning."""


def write_answer(path: Path, record: Record, result: dict[str, Any] | None) -> None:
    """Write the answer of a measurement whose study has ended.

    Args:
        path: the file.
        record: what was done about the measurement.
        result: the content of its result.json; None where there is none.

    Raises:
        OSError: it cannot be written.
        AutotuneError: there is a file of this name that is no answer.
    """
    if path.exists() and not _is_answer(path):
        raise AutotuneError(Problem(str(path), "is a file of this name that is no answer", "move it away"))
    modified = datetime.fromtimestamp(record.modified / 1e9, UTC)
    document = {
        "schema": SCHEMA,
        "measurement": Path(record.path).name,
        "bytes": record.size,
        "modified": modified.isoformat(timespec="milliseconds"),
        "study": record.study,
        "service": record.where or None,
        "id": record.id or None,
        "status": record.status,
        "reason": record.reason,
        "result": result,
    }
    write_json(path, document)


def in_words(record: Record, result: dict[str, Any] | None) -> str:
    """How a study ended, in a line."""
    text = f"study {record.study}: {record.status}"
    metric = (result or {}).get("metric") or {}
    if record.status == "finished" and isinstance(metric.get("best"), float):
        return f"{text}: {metric.get('name')} {metric_text(metric['best'])} in trial {(result or {}).get('best_trial')}"
    return f"{text}: {record.reason}" if record.reason else text


def _is_answer(path: Path) -> bool:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(document, dict) and {"measurement", "study", "status"} <= document.keys()
