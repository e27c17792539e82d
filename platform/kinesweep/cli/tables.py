"""Tables of results for the terminal: ranking, objectives, plan, repetitions."""

from collections.abc import Sequence

from rich.table import Table

from kinesweep.core.scores import format_value
from kinesweep.core.units import format_bytes
from kinesweep.sweeps.planning.cost_estimate import Plan
from kinesweep.sweeps.results.sweep_result import SweepOutcome
from kinesweep.training.run_records.result import RunResult


def objectives_table(outcome: SweepOutcome) -> Table:
    """Return the means of several objectives, with a mark for the Pareto front."""
    names = list(next(iter(outcome.objectives.values())))
    table = Table("", *names, "front")
    for name, means in outcome.objectives.items():
        shown = [format_value(objective, means[objective]) for objective in names]
        table.add_row(name, *shown, "✓" if name in outcome.front else "")
    return table


def plan_table(plan: Plan) -> Table:
    """Return the expected costs of a sweep on the requested cluster (first row) and on others."""
    table = Table("devices", "parallel runs", "hours", "10–90 %", "device hours", "finished")
    for heading in ("pruned", "disk"):
        table.add_column(heading)
    for row in (plan.here, *plan.rows):
        table.add_row(
            f"{row.devices:g}",
            str(row.slots),
            f"{row.hours:.3g}",
            f"{row.low:.3g}–{row.high:.3g}",
            f"{row.device_hours:.3g}",
            f"{row.finished:.0f}",
            f"{row.pruned:.0f}",
            format_bytes(row.disk_bytes),
            style="bold" if row is plan.here else "",
        )
    return table


def ranking_table(outcome: SweepOutcome) -> Table:
    """Return the ranking with each gap to the best, its interval and both parts of its error."""
    table = Table(
        "", outcome.metric, "95 %", "gap to best", "SE seeds", "SE sentences", "p", "seeds"
    )
    for line in outcome.ranking:
        # The best configuration has no gap to itself, so its cells stay empty.
        first = line is outcome.ranking[0]
        behind = f"{line.gap_to_best:.2f} [{line.gap_low:.2f}, {line.gap_high:.2f}]"
        table.add_row(
            _named(outcome, line.name),
            f"{line.mean:.2f}",
            f"{line.low:.1f}–{line.high:.1f}",
            "" if first else behind,
            "" if first else f"{line.seed_error:.2f}",
            "" if first else f"{line.sentence_error:.2f}",
            "" if first else ("tie" if line.tied else f"{line.p_value:.2g}"),
            " ".join(f"{score:.1f}" for score in line.scores.values()),
        )
    return table


def repeats_table(results: Sequence[RunResult], metric: str) -> Table:
    """Return the results of runs with the same identity, one row each."""
    table = Table("", "status", metric, "steps", "epochs", "best step", "weights")
    for result in results:
        table.add_row(
            result.folder.name,
            result.status,
            f"{result.scores.get(metric, float('nan')):.3f}",
            str(result.step),
            f"{result.epochs:.4f}",
            str(result.best_step),
            result.weights_sha256[:16],
        )
    return table


def sanity_lines(outcome: SweepOutcome) -> list[str]:
    """Return one line per sanity baseline, with its score."""
    return [
        f"sanity  {outcome.metric} {value:.2f}  {name}" for name, value in outcome.sanity.items()
    ]


def _named(outcome: SweepOutcome, name: str) -> str:
    """Return the name of a configuration, with its scientific levels if there are any."""
    level = outcome.levels.get(name)
    return f"{name} ({level})" if level else name
