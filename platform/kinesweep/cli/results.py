"""A sweep's result as tables for a terminal."""

from rich.table import Table

from kinesweep.sweeps.outcome import Outcome


def objectives_table(outcome: Outcome) -> Table:
    """Means of several objectives; who is on their front is marked."""
    names = list(next(iter(outcome.objectives.values())))
    table = Table("", *names, "front")
    for name, means in outcome.objectives.items():
        shown = [f"{means[objective]:,.4g}" for objective in names]
        table.add_row(name, *shown, "✓" if name in outcome.front else "")
    return table


def ranking_table(outcome: Outcome) -> Table:
    """The ranking for a terminal."""
    table = Table("", outcome.metric, "95 %", "behind", "± seeds", "± sentences", "p", "seeds")
    for line in outcome.ranking:
        table.add_row(
            _named(outcome, line.name),
            f"{line.mean:.2f}",
            f"{line.low:.1f}–{line.high:.1f}",
            f"{line.behind:.2f}",
            f"{line.seed_error:.2f}",
            f"{line.sentence_error:.2f}",
            "tie" if line.tied and line.behind > 0 else f"{line.p_value:.3g}",
            " ".join(f"{score:.1f}" for score in line.scores.values()),
        )
    for name, value in outcome.sanity.items():
        table.add_row(name, f"{value:.2f}", *[""] * 6)
    return table


def _named(outcome: Outcome, name: str) -> str:
    """A configuration with its scientific level."""
    level = outcome.levels.get(name)
    return f"{name} ({level})" if level else name
