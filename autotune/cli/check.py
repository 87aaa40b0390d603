"""``autotune check``: what a study would do, without running it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autotune.cli.options import SetOption, StudyArgument
from autotune.text import metric_text, shown_unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from autotune.objective import Parameter
    from autotune.problem.space import Dimension
    from autotune.study import Plan, StudySpec
    from autotune.study.blocks.execution import ExecutionSpec


def check(study: StudyArgument, overrides: SetOption = None) -> None:
    """Check a study file and its data, and show the plan. Runs nothing and writes nothing."""
    from autotune.cli.console import make_console
    from autotune.execution.choose import check_execution
    from autotune.home import Home
    from autotune.runs.resume import sources_of
    from autotune.study import load_study, plan_study

    file = load_study(study, overrides or ())
    check_execution(file)
    objective = file.open()
    plan = plan_study(file, objective)
    sources_of(file, plan, Home.from_environment())

    console = make_console()
    console.print(f"Study {file.spec.name}: {file.path}")
    if file.spec.description:
        console.print(file.spec.description.strip())
    _print_facts(console, f"Objective {file.spec.objective.name}", objective.summary())
    _print_tuned(console, plan.space.dimensions)
    _print_held(console, plan, objective.parameters())
    _print_facts(console, "Search", _search_facts(file.spec, plan))
    _print_facts(console, "Execution", _execution_facts(file.spec.execution))
    for warning in plan.warnings:
        console.print(f"\nWarning: {warning}", soft_wrap=True)


def _print_facts(console: Console, title: str, facts: Mapping[str, str]) -> None:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for name, fact in facts.items():
        table.add_row(f"  {name}", str(fact))
    console.print(f"\n{title}")
    console.print(table)


def _print_tuned(console: Console, dimensions: Sequence[Dimension]) -> None:
    from rich.table import Table

    from autotune.problem.space import describe

    if not dimensions:
        console.print("\nNothing is tuned: a single evaluation")
        return
    table = Table("parameter", "range", "unit", "scale", "kind", "first value", box=None, padding=(0, 2))
    if any(d.when for d in dimensions):
        table.add_column("only while")
    for d in dimensions:
        scale = {"categorical": "choice"}.get(d.type, d.scale)
        scale += ", whole numbers" if d.type == "int" else ""
        first = "" if d.initial is None else _number(d.initial)
        condition = [describe(d.when)] if d.when else []
        table.add_row(d.name, _range(d), shown_unit(d.unit), scale, d.kind, first, *condition)
    console.print("\nTuned parameters")
    console.print(table)


def _range(dimension: Dimension) -> str:
    if dimension.type == "categorical":
        return ", ".join(dimension.choices)
    return f"{_number(dimension.low)} to {_number(dimension.high)}"


def _number(value: object) -> str:
    return f"{value:.10g}" if isinstance(value, (int, float)) else str(value)


def _print_held(console: Console, plan: Plan, parameters: Sequence[Parameter]) -> None:
    """Print the parameters that are not tuned: those the study fixes, those at their defaults, then the idle ones."""
    from rich.table import Table

    table = Table("parameter", "value", "unit", "why", box=None, padding=(0, 2))
    others = [p for p in parameters if p.name not in plan.space.names]
    held = {p.name: plan.fixed.get(p.name, p.default) for p in others}
    for parameter in sorted(others, key=lambda p: (p.idle(held), p.name not in plan.fixed)):
        value = held[parameter.name]
        why = "fixed by the study" if parameter.name in plan.fixed else "default"
        if (other := parameter.idle_because(held)) is not None:
            why = f"without effect while {other} is {_number(held[other])}"
        table.add_row(parameter.name, "-" if value is None else _number(value), shown_unit(parameter.unit), why)
    if others:
        console.print("\nHeld parameters")
        console.print(table)


def _level_facts(spec: StudySpec, plan: Plan) -> dict[str, str]:
    """Cheap evaluations, earlier studies and the pruner, where there are any."""
    held = [", ".join(f"{name} {_number(value)}" for name, value in level.values.items()) for level in plan.cheap]
    cheap = "; ".join(f"{text} ({level.cost:.2f} of a full one)" for text, level in zip(held, plan.cheap, strict=True))
    facts = {"cheap evaluations": cheap, "learns from": ", ".join(spec.search.warm_start)}
    facts["pruner"] = "" if spec.search.pruner == "none" else spec.search.pruner
    return {name: fact for name, fact in facts.items() if fact}


def _aim_facts(plan: Plan) -> dict[str, str]:
    """Metrics that the tuned one is weighed against, limits, and the aim per second, where there are any."""
    aims = plan.aims
    facts = {
        "weighed against": ", ".join(f"{metric.name} ({metric.goal})" for metric in aims.against),
        "limits": ", ".join(str(limit) for limit in aims.limits),
        "improvement counts": "per second" if aims.per_second else "",
    }
    return {name: fact for name, fact in facts.items() if fact}


def _search_facts(spec: StudySpec, plan: Plan) -> dict[str, str]:
    metric, search, budget = plan.metric, spec.search, spec.budget
    split = "in-sample" if metric.held_out_of is None else "on data withheld from the solver"
    ceiling = "" if metric.noise_ceiling is None else f", noise ceiling {metric_text(metric.noise_ceiling, 5)}"
    startup = "" if search.startup_trials is None else f", {search.startup_trials} startup trials"
    limit = "" if budget.seconds is None else f", at most {_number(budget.seconds)} s"
    cost = "" if budget.reconstructions is None else f", at most {_number(budget.reconstructions)} reconstructions"
    enough = "" if budget.converged is None else f", until less than {_number(budget.converged)} is expected to be won"
    return {
        "metric": f"{metric.goal} {metric.name}, {split}{ceiling}",
        **_aim_facts(plan),
        "sampler": f"{search.sampler}, seed {search.seed}{startup}",
        "budget": f"{budget.trials} trials{cost}{limit}{enough}",
        **_level_facts(spec, plan),
        "tracking": "MLflow" if spec.tracking.enabled else "off",
    }


def _execution_facts(spec: ExecutionSpec) -> dict[str, str]:
    """Where trials would run, and their limits of time and memory."""
    from autotune.study.executors import KINDS

    place = KINDS[spec.executor].place
    if spec.cluster is not None:
        place = f"a {place} started for the run ({spec.cluster.kind})"
    elif spec.scheduler is not None:
        place = f"the {place} of {spec.scheduler}"
    timeout = "" if spec.timeout is None else f"{_number(spec.timeout)} s"
    limits = " and ".join(limit for limit in (timeout, spec.memory) if limit)
    facts = {"trials run in": f"{place}, {spec.workers} at once", "a trial may use": limits}
    facts["variables given, too"] = ", ".join(spec.environment)  # their names; the values may be secret
    return {name: fact for name, fact in facts.items() if fact}
