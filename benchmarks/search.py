"""Search engines side by side: this project's Gaussian process and five peers on the same problems with the same seeds.

    python benchmarks/search.py run --peers-python PEERS/bin/python      # hours; may be stopped and continued
    python benchmarks/search.py reference                                # best values of the calibrations
    python benchmarks/search.py show                                     # tables, and docs/benchmarks/search.md

Every engine runs with its own defaults. Ax pins BoTorch, so it and scikit-optimize live in an environment of their own;
an engine that is not installed is left out, and the output says so:

    python3 -m venv PEERS
    PEERS/bin/pip install torch==2.13.0 botorch ax-platform optuna scikit-optimize

One line per finished search is added to --results, and finished ones are skipped: a run that was killed continues where
it was. A search is repeated if its problem now gives other values and, with --rerun, if our sources have changed.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy and torch are imported

import argparse
import sys
import warnings
from pathlib import Path

from search_bench.calibrations import CALIBRATIONS
from search_bench.cells import append, read, run_cell
from search_bench.engines import BY_NAME, OWN_VERSION, EngineFailedError, EngineKind, EngineMissingError, start
from search_bench.functions import FUNCTIONS
from search_bench.plot import plot_regret
from search_bench.problem import Instance, Problem
from search_bench.reference import find_reference
from search_bench.report import report
from search_bench.summary import summarise

PROBLEMS = {problem.name: problem for problem in (*FUNCTIONS, *CALIBRATIONS)}
_ROOT = Path(__file__).resolve().parents[1]


def run(arguments: argparse.Namespace) -> None:
    """Run the cells that are not finished yet."""
    left_out: set[str] = set()
    for problem in (PROBLEMS[name] for name in arguments.problems):
        for seed in range(arguments.seeds):
            instance = problem.instance(seed)
            for kind in (BY_NAME[name] for name in arguments.engines if name not in left_out):
                if _finished(arguments, problem, seed, kind, instance):
                    continue
                if not _run_one(arguments, problem, seed, kind, instance):
                    left_out.add(kind.name)


def _finished(arguments: argparse.Namespace, problem: Problem, seed: int, kind: EngineKind, instance: Instance) -> bool:
    """Whether the file has the cell, long enough, of this problem, and, with --rerun, by the present engine."""
    cell = read(arguments.results).cells.get((kind.name, problem.name, seed))
    if cell is None or len(cell.outcomes) < arguments.trials:
        return False
    if not problem.same(cell.sample, problem.sample(instance), instance):
        return False
    return not (kind.ours and kind.name in arguments.rerun) or cell.version == OWN_VERSION


def _run_one(arguments: argparse.Namespace, problem: Problem, seed: int, kind: EngineKind, instance: Instance) -> bool:
    """Run one cell and append it to the file; False where the engine is not installed."""
    place = f"{kind.name:>13} {problem.name:<13} seed {seed}"
    try:
        engine = start(kind, problem.space, seed, arguments.peers_python)
    except EngineMissingError as error:
        print(f"{kind.name:>13} is left out: {error}", flush=True)
        return False
    try:
        cell = run_cell(kind.name, problem, seed, engine, instance, arguments.trials)
    except EngineFailedError as error:
        print(f"{place}  failed: {error}", flush=True)
        return True
    finally:
        engine.close()
    append(arguments.results, cell)
    seconds = sum(cell.seconds) / len(cell.seconds)
    print(f"{place}  best {max(cell.outcomes):.6g}, {seconds:.3f} s per proposal", flush=True)
    return True


def reference(arguments: argparse.Namespace) -> None:
    """Search for the best values of the problems that have none in closed form."""
    for problem in (PROBLEMS[name] for name in arguments.problems):
        for seed in range(arguments.seeds):
            if problem.optimum is not None or _has_reference(arguments, problem, seed):
                continue
            best = find_reference(problem, seed, arguments.evaluations)
            append(arguments.results, best)
            print(f"{problem.name} seed {seed}: {best.value:.6f} at {best.point}", flush=True)


def _has_reference(arguments: argparse.Namespace, problem: Problem, seed: int) -> bool:
    """Whether the file has a reference of this problem from a search of at least as many evaluations."""
    stored = read(arguments.results).references.get((problem.name, seed))
    if stored is None or stored.evaluations < arguments.evaluations:
        return False
    instance = problem.instance(seed)
    return problem.same(stored.sample, problem.sample(instance), instance)


def show(arguments: argparse.Namespace) -> None:
    """Print the tables; write them and the plot."""
    results = read(arguments.results)
    summaries = [summarise(PROBLEMS[name], results, arguments.seeds, arguments.trials) for name in arguments.problems]
    summaries = [summary for summary in summaries if summary.rows]
    if not summaries:
        sys.exit(f"no finished cells in {arguments.results}: begin with `run`")
    arguments.output.mkdir(parents=True, exist_ok=True)
    text = report(summaries, results, picture="search.png")
    print(text)
    (arguments.output / "search.md").write_text(text, encoding="utf-8")
    plot_regret(summaries, arguments.output / "search.png")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for command in (run, reference, show):
        sub = commands.add_parser(command.__name__, help=command.__doc__)
        sub.set_defaults(command=command)
        sub.add_argument("--results", type=Path, default=_ROOT / "build" / "search" / "results.jsonl")
        sub.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS), metavar="PROBLEM")
        sub.add_argument("--seeds", type=int, default=5, help="seeds 0, 1, ... so many (default: 5)")
        if command is not reference:
            sub.add_argument("--trials", type=int, default=60, help="of every search (default: 60)")
        if command is run:
            own = [kind.name for kind in BY_NAME.values() if kind.ours]
            sub.add_argument("--engines", nargs="+", choices=BY_NAME, default=list(BY_NAME), metavar="ENGINE")
            sub.add_argument("--peers-python", default=os.environ.get("AUTOTUNE_PEERS_PYTHON"), metavar="PATH")
            help_rerun = "run these of ours again where the cell is of other sources than the present ones"
            sub.add_argument("--rerun", nargs="+", choices=own, default=[], metavar="ENGINE", help=help_rerun)
        if command is reference:
            help_evaluations = "for every combination of categorical parameters (default: 400)"
            sub.add_argument("--evaluations", type=int, default=400, help=help_evaluations)
        if command is show:
            sub.add_argument("--output", type=Path, default=_ROOT / "docs" / "benchmarks")
    return parser


def main() -> None:
    """Run the command line."""
    warnings.simplefilter("ignore")  # the packages' warnings to their users do not concern the comparison
    arguments = _parser().parse_args()
    arguments.command(arguments)


if __name__ == "__main__":
    main()
