"""Tables for the terminal: status, ranking, objectives, plan, repetitions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from kinesweep.core.scores import format_score_value
from kinesweep.core.units import format_bytes

# Types only: the table of `kinesweep status` needs none of their dependencies.
if TYPE_CHECKING:
    from kinesweep.sweeps.journal.status import SweepStatus
    from kinesweep.sweeps.planning.sweep_plan import SweepPlan
    from kinesweep.sweeps.results.sweep_outcome import SweepOutcome
    from kinesweep.training.run_records.result import RunResult


def build_objectives_table(outcome: "SweepOutcome") -> Table:
    """Build a table of the mean objectives, with a mark for configurations on the Pareto front."""
    names = list(next(iter(outcome.objectives.values())))
    table = Table("", *names, "front")
    for name, means in outcome.objectives.items():
        cells = [format_score_value(objective, means[objective]) for objective in names]
        table.add_row(name, *cells, "✓" if name in outcome.front else "")
    return table


def build_plan_table(plan: "SweepPlan") -> Table:
    """Build a table of a sweep's expected costs on the requested cluster (first row) and others."""
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


def build_ranking_table(outcome: "SweepOutcome") -> Table:
    """Build a table of the ranking: mean score, gap to the best, its errors, scores of the seeds.

    A gap has an interval, two standard errors and a p-value; `tie`: it is not significant.
    """
    table = Table(
        "", outcome.metric, "95 %", "gap to best", "SE seeds", "SE sentences", "p", "seeds"
    )
    for ranked in outcome.ranking:
        # The best configuration has no gap to itself, so its cells stay empty.
        is_best = ranked is outcome.ranking[0]
        gap = f"{ranked.gap_to_best:.2f} [{ranked.gap_low:.2f}, {ranked.gap_high:.2f}]"
        table.add_row(
            _format_config_name(outcome, ranked.name),
            f"{ranked.mean:.2f}",
            f"{ranked.low:.1f}–{ranked.high:.1f}",
            "" if is_best else gap,
            "" if is_best else f"{ranked.seed_error:.2f}",
            "" if is_best else f"{ranked.sentence_error:.2f}",
            "" if is_best else ("tie" if ranked.tied else f"{ranked.p_value:.2g}"),
            " ".join(f"{score:.1f}" for score in ranked.scores.values()),
        )
    return table


def build_repeats_table(results: "Sequence[RunResult]", metric: str) -> Table:
    """Build a table of the results of runs with the same configuration and seed, one row each."""
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


def format_sanity_scores(outcome: "SweepOutcome") -> list[str]:
    """Format the scores of the sanity baselines, one line each."""
    return [
        f"sanity  {outcome.metric} {value:.2f}  {name}" for name, value in outcome.sanity.items()
    ]


def _format_config_name(outcome: "SweepOutcome", name: str) -> str:
    """Format the name of a configuration, with the levels of its scientific parameters if any."""
    level = outcome.levels.get(name)
    return f"{name} ({level})" if level else name


def build_status_table(rows: "Sequence[SweepStatus]") -> Table:
    """Build a status table with one row per sweep."""
    table = Table("sweep", "state", "trials", "running", "pruned", "failed")
    for heading in ("rung", "best", "final runs", "hours", "time left"):
        table.add_column(heading)
    for row in rows:
        total_text = "" if row.of is None else f" of {row.of}"
        table.add_row(
            row.sweep,
            row.state,
            f"{row.finished + row.pruned + row.failed}{total_text}",
            str(row.running),
            str(row.pruned),
            str(row.failed),
            "" if row.rung is None else f"{row.rung:,.0f}",
            "" if row.best is None else f"{row.best:.2f}",
            str(row.runs),
            f"{row.hours:.2f}",
            row.stopped or ("" if row.eta_hours is None else f"{row.eta_hours:.2f} h"),
        )
    return table
