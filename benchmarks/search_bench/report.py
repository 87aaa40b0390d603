"""The tables as Markdown, for people and for docs/benchmarks/search.md."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

from search_bench.cells import Results
from search_bench.engines import BY_NAME
from search_bench.summary import Row, Summary

FEWER_TRIALS = 5.0
"""Aim on the six-parameter calibration: the factor by which trials are to be fewer than the best peer's."""
WORSE_RANK = 1.1
"""Aim without gradients: a median rank at most this times the best peer's."""

_INTRODUCTION = """\
# Search engines side by side

Written by `python benchmarks/search.py show`; `python benchmarks/search.py --help` says how to run it again. {seeds}
seeds, {trials} trials per search, nothing told in advance, every engine with its own defaults. Numbers are medians
over the seeds.

- **Regret**: best value possible minus best value so far. Of the calibrations, it is consistency over the noise
  ceiling; the best value is the highest that any engine or a search started at the truth (`reference`) found.
- **Trials to target**: trials until the regret is at most the target.
- **Rank**: of the regret among the engines without gradients, 1 is best, median over seeds; regrets below a hundredth
  of the target are equal.
- **Seconds**: of processor time per proposal (mean over the search), one thread, on a machine that was shared: they
  compare, but are not exact.
- Only *autotune gp, with gradients* is told derivatives: no peer could use them. Of the calibrations they come
  with the metric at the cost of one more pass; of the test functions they are computed to show what they are worth.
"""


def report(summaries: Sequence[Summary], results: Results, picture: str) -> str:
    """Compose the whole page; ``picture`` is the plot's file name."""
    rows = [row for summary in summaries for row in summary.rows]
    seeds, trials = max(row.seeds for row in rows), max(len(row.regret) for row in rows)
    parts = [
        _INTRODUCTION.format(seeds=seeds, trials=trials),
        f"![Median regret against trials]({picture})\n",
        *_aims(summaries),
        *(_section(summary, results, seeds) for summary in summaries),
        _ranks_table(summaries),
        _made_with(rows),
    ]
    return "\n".join(parts)


def _aims(summaries: Sequence[Summary]) -> list[str]:
    return ["## Aims\n", _fewer_trials(summaries), _equal_rank(summaries)]


def _fewer_trials(summaries: Sequence[Summary]) -> str:
    calibration = next((summary for summary in summaries if summary.problem.name == "calibration6"), None)
    ours = calibration.row("gp-gradients") if calibration else None
    if calibration is None or ours is None or not calibration.peers:
        return "- Six-parameter calibration: not measured yet.\n"
    best = min(calibration.peers, key=lambda row: row.to_target)
    trials = len(best.regret)
    if math.isinf(ours.to_target):
        return f"- Six-parameter calibration: gp with gradients is not there within {trials} trials. **Not reached.**\n"
    least = trials + 1 if math.isinf(best.to_target) else best.to_target
    ratio = least / ours.to_target
    peer = f"no peer within {trials}" if math.isinf(best.to_target) else f"{best.kind.title} {best.to_target:g}"
    verdict = "Reached" if ratio >= FEWER_TRIALS else "Not shown" if math.isinf(best.to_target) else "Not reached"
    more = "more than " if math.isinf(best.to_target) else ""
    return (
        f"- Six-parameter calibration, {FEWER_TRIALS:g} times fewer trials to the target than the best peer: gp with "
        f"gradients {ours.to_target:g}, {peer}: {more}{ratio:.1f} times fewer. **{verdict}.**\n"
    )


def _equal_rank(summaries: Sequence[Summary]) -> str:
    lines, missed = [], []
    for summary in summaries:
        gp, mark = summary.row("gp"), summary.marks[-1] if summary.marks else 0
        ranked = [row for row in summary.peers if mark in row.ranks]
        if gp is None or mark not in gp.ranks or not ranked:
            continue
        best = min(ranked, key=lambda row: row.ranks[mark])
        lines.append(f"{summary.problem.name} {gp.ranks[mark]:g} against {best.ranks[mark]:g}")
        if gp.ranks[mark] > WORSE_RANK * best.ranks[mark]:
            missed.append(summary.problem.name)
    if not lines:
        return "- Without gradients: not measured yet.\n"
    verdict = f"Not reached on {', '.join(missed)}" if missed else "Reached"
    return (
        f"- Without gradients, a median regret rank at the end at most {WORSE_RANK:g} times the best peer's: "
        f"{'; '.join(lines)}. **{verdict}.**\n"
    )


def _section(summary: Summary, results: Results, seeds: int) -> str:
    problem = summary.problem
    header = [
        "engine",
        "trials to target",
        "seeds that reach it",
        *(f"regret at {mark}" for mark in summary.marks),
        "s per proposal",
    ]
    lines = [[_title(row), *_numbers(row, summary)] for row in summary.rows]
    note = ""
    if problem.optimum is None:
        referred = sum((problem.name, seed) in results.references for seed in range(seeds))
        if referred < seeds:
            note = (
                f"\nFor {seeds - referred} of {seeds} seeds the best value is the engines' own (no `reference` yet).\n"
            )
    if summary.unlike:
        note += (
            f"\nOn {summary.unlike} of {seeds} seeds the engines were not given quite the same problem: `run` again.\n"
        )
    return f"## {problem.title}\n\n`{problem.name}`. Target: regret {problem.target:g}.\n\n{table(header, lines)}{note}"


def _title(row: Row) -> str:
    return f"**{row.kind.title}**" if row.kind.ours else row.kind.title


def _numbers(row: Row, summary: Summary) -> list[str]:
    to_target = f"over {len(row.regret)}" if math.isinf(row.to_target) else f"{row.to_target:g}"
    regrets = [_regret(float(row.regret[mark - 1]), summary.problem.resolution) for mark in summary.marks]
    return [to_target, f"{row.reached} of {row.seeds}", *regrets, f"{row.seconds:.3f}"]


def _regret(regret: float, resolution: float) -> str:
    return f"{regret:.2g}" if regret >= resolution else f"< {resolution:.0e}".replace("e-0", "e-")


def _ranks_table(summaries: Sequence[Summary]) -> str:
    """Table of the ranks of engines without gradients, with all marks of one problem in one field."""
    present = {row.kind.name for summary in summaries for row in summary.rows if row.ranks}
    kinds = [kind for kind in BY_NAME.values() if kind.name in present]
    header = ["problem", "seeds", *(kind.title for kind in kinds)]
    lines = []
    for summary in summaries:
        rows = [summary.row(kind.name) for kind in kinds]
        ranks = [" / ".join(f"{row.ranks[m]:g}" for m in summary.marks) if row and row.ranks else "" for row in rows]
        lines.append([summary.problem.name, str(summary.ranked_seeds), *ranks])
    marks = " / ".join(str(mark) for mark in (summaries[0].marks if summaries else ()))
    return f"## Median regret rank after {marks} trials, without gradients\n\n{table(header, lines)}"


def _made_with(rows: Iterable[Row]) -> str:
    versions: dict[str, None] = {}
    for row in rows:
        versions.update(dict.fromkeys(row.version.split(", ")))
    return f"## Made with\n\n{_processor()}; Python {platform.python_version()}; {', '.join(versions)}.\n"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Format a Markdown table with aligned columns, so that it reads as plain text, too."""
    rows = [list(header), *(list(line) for line in lines)]
    widths = [max(3, *(len(row[i]) for row in rows)) for i in range(len(header))]
    rule = ["-" * width for width in widths]
    padded = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    padded.insert(1, "| " + " | ".join(rule) + " |")
    return "\n".join(padded) + "\n"
