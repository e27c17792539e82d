"""Collect the data of a sweep's report from its folder, its runs and its store, and write it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna
import yaml

from kinesweep.config.recipe import Recipe
from kinesweep.core.paths import directory_size
from kinesweep.core.units import format_bytes
from kinesweep.evaluation.predictions import Prediction, read_predictions
from kinesweep.evaluation.scoring import sentence_chrf
from kinesweep.evaluation.train_overlap import apart, train_sentences
from kinesweep.pipelines.report_media import render_winner_samples
from kinesweep.report import Curve, Report, Sample, Scores, Trial, write_report
from kinesweep.store import Store, open_store
from kinesweep.sweeps.journal.journal import read_journal, read_trials, worked_hours
from kinesweep.sweeps.journal.run_folders import RUNS, run_name
from kinesweep.sweeps.journal.sweep_metadata import Record, read_outcome, read_record
from kinesweep.sweeps.results.sweep_result import SweepOutcome
from kinesweep.sweeps.space.parameter import Parameter
from kinesweep.sweeps.space.space import SearchSpace
from kinesweep.training.run_records.metrics import read_metrics
from kinesweep.training.run_records.run_identity import METRICS

REPORT = "report"


def report_sweep(folder: Path) -> Path:
    """Write the report of a finished sweep into its folder and return the path of its page.

    Args:
        folder: Folder of the sweep.

    Raises:
        CheckpointError: If there is no sweep or if it is not finished.
        StoreError: If its features do not exist any more.
    """
    report = collect_report_data(folder)
    run = Path(read_outcome(folder).winner_runs[0])
    base = open_store(read_record(folder).store)
    # The images are drawn first, because the page embeds them.
    pictures, not_drawn = render_winner_samples(
        folder / REPORT, run, _predictions(run, "validation"), base
    )
    drawn = replace(report, pictures=pictures, not_drawn=not_drawn)
    return write_report(folder / REPORT, drawn)


def collect_report_data(folder: Path) -> Report:
    """Return the data of a sweep's report, without images."""
    record, outcome = read_record(folder), read_outcome(folder)
    store = open_store(record.store)
    events = read_journal(folder)
    trials = read_trials(events)
    seen = train_sentences(store)
    return Report(
        sweep=folder.name,
        question=outcome.question,
        answer=outcome.answer,
        metric=outcome.metric,
        objectives={m.name: "max" if m.sign > 0 else "min" for m in record.space.objectives},
        winner=outcome.winner,
        winner_values=outcome.winner_values,
        ranking=[vars(line) for line in outcome.ranking],
        levels=outcome.levels,
        means=outcome.objectives,
        front=outcome.front,
        sanity=outcome.sanity,
        test=outcome.test,
        notes=outcome.notes,
        parameters={n: _parameter(p) for n, p in record.space.searched.items()},
        trials=[Trial(t.number, t.values, t.state, t.scores, t.reason, t.seconds) for t in trials],
        curves=_curves(folder, record, trials, events),
        samples=_samples(outcome, record.recipe, store, seen),
        parts=_scores_by_train_overlap(outcome, record.recipe, seen),
        costs=_costs(folder, store, record.space, trials, events),
        failures=_failures(trials, events),
        repeat=_repeat(record, store),
        space=_yaml(record.space.model_dump(mode="json", by_alias=True, exclude_none=True)),
        recipe=_yaml(record.recipe.model_dump(mode="json", by_alias=True)),
    )


def _parameter(parameter: Parameter) -> dict[str, str]:
    """Return a searched parameter as text, with its distribution as Optuna's JSON."""
    ranges = {"log": parameter.log, "float": parameter.float_, "int": parameter.int_}
    shown = [f"{low:g} – {high:g} ({kind})" for kind, (low, high) in _given(ranges)]
    distribution = parameter.distribution()
    return {
        "role": parameter.role,
        "rationale": parameter.rationale,
        "range": shown[0] if shown else ", ".join(map(str, parameter.choices or ())),
        "distribution": optuna.distributions.distribution_to_json(distribution),
    }


def _given(ranges: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the ranges that are set; a parameter has at most one."""
    return [(kind, given) for kind, given in ranges.items() if given is not None]


def _curves(
    folder: Path, record: Record, trials: Sequence[Any], events: Sequence[Mapping[str, Any]]
) -> list[Curve]:
    """Return the learning curves of all runs, those of the search first."""
    seed = record.space.search.seed
    # A trial with a twin was not trained; it copies the result of an equal configuration.
    runs = [
        (f"trial {t.number}", "search", t.state, run_name(t.config, seed))
        for t in trials
        if t.duplicate_of is None
    ]
    ends = {"run_finished": "finished", "run_failed": "failed"}
    for event in events:
        if event["event"] in ends:
            name = f"{event['finalist']}, seed {event['run'].rpartition('-s')[2]}"
            runs.append((name, "finals", ends[event["event"]], event["run"]))
    return [
        curve
        for name, phase, state, run in runs
        if (curve := _curve(name, phase, state, folder / RUNS / run / METRICS)) is not None
    ]


def _curve(name: str, phase: str, state: str, path: Path) -> Curve | None:
    """Return the curve of one run, or None if it was never evaluated."""
    # Rows with `token_loss` are evaluations; the others are logs of training steps.
    rows = [row for row in read_metrics(path) if "token_loss" in row]
    if not rows:
        return None
    names = {name for row in rows for name in row} - {"step", "samples"}
    measured = {name: [_finite(row.get(name)) for row in rows] for name in sorted(names)}
    return Curve(name, phase, state, [row["samples"] for row in rows], measured)


def _finite(value: float | None) -> float | None:
    """Return a value that JSON can represent; NaN and infinity of a diverged run become None."""
    return value if value is not None and math.isfinite(value) else None


def _samples(outcome: SweepOutcome, recipe: Recipe, store: Store, seen: set[str]) -> list[Sample]:
    """Return the validation translations of the winner's exported seed."""
    lines = _predictions(Path(outcome.winner_runs[0]), "validation")
    said = {line.clip_id: line.hypothesis for line in lines}
    wanted = {line.clip_id: line.references for line in lines}
    scores = sentence_chrf(said, wanted, recipe.evaluation.protocol_config)
    records = {record.clip.id: record for record in store.records("validation")}
    return [
        Sample(
            clip=line.clip_id,
            signer=records[line.clip_id].clip.signer,
            frames=max(records[line.clip_id].lengths.values()),
            reference=line.references[0],
            hypothesis=line.hypothesis,
            score=round(scores[line.clip_id], 1),
            in_train=any(text in seen for text in line.references),
        )
        for line in lines
    ]


def _scores_by_train_overlap(outcome: SweepOutcome, recipe: Recipe, seen: set[str]) -> list[Scores]:
    """Return separate scores of sentences that occur in train and of those that do not."""
    found = []
    for split in ("validation", "test"):
        runs = [_predictions(Path(run), split) for run in outcome.winner_runs]
        # A split that was not decoded for every seed has no mean over seeds.
        if not all(runs):
            continue
        by_run = [apart(lines, seen, recipe.evaluation) for lines in runs]
        for same in zip(*by_run, strict=True):  # all runs have the same clips
            means = {name: fmean(part.scores[name] for part in same) for name in same[0].scores}
            found.append(Scores(f"{split}, {same[0].what}", same[0].clips, means))
    return found


def _predictions(run: Path, split: str) -> list[Prediction]:
    """Return a run's predictions on a split; empty if the split was not decoded."""
    path = run / "predictions" / f"{split}.tsv"
    return read_predictions(path) if path.exists() else []


def _costs(
    folder: Path,
    store: Store,
    space: SearchSpace,
    trials: Sequence[Any],
    events: Sequence[Mapping[str, Any]],
) -> dict[str, str]:
    """Return the costs of a sweep as text: wall-clock time, run time, device hours, disk space."""
    finals = [e for e in events if e["event"] in ("run_finished", "run_failed")]
    searched = sum(t.seconds for t in trials)
    settled = sum(e.get("seconds", 0.0) for e in finals)
    resources = space.resources
    # Without GPUs, the CPUs that a run reserves are the scarce resource.
    devices = resources.workers * (resources.gpus or resources.cpus)
    kind = "GPU" if resources.gpus else "CPU"
    hours = devices * (searched + settled) / 3600
    return {
        "wall-clock time": f"{worked_hours(events):.2f} h",
        "search": f"{searched / 3600:.2f} h of {len(trials)} runs",
        "finals": f"{settled / 3600:.2f} h of {len(finals)} runs",
        "devices": f"{devices:g} {kind} per run, {hours:.2f} {kind} h",
        "features": f"{format_bytes(directory_size(store.folder))} in {store.folder.name}",
        "run folders": format_bytes(directory_size(folder)),
    }


def _failures(trials: Sequence[Any], events: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line with the reason for each failure, including retries of killed runs."""
    lines = [f"trial {t.number} failed: {t.reason}" for t in trials if t.state == "failed"]
    words = {"trial_died": "died and was retried", "run_died": "died and was retried"}
    words |= {"run_failed": "failed"}
    for event in events:
        if event["event"] in words:
            who = event.get("run") or f"trial {event['trial']}"
            lines.append(f"{who} {words[event['event']]}: {event['reason']}")
    return lines


def _repeat(record: Record, store: Store) -> dict[str, str]:
    """Return what is needed to reproduce the sweep: command, seeds, data and versions."""
    made = record.made_with
    return {
        "command": "kinesweep sweep SPACE.yaml (the space and the recipe are shown below)",
        "search seed": str(record.space.search.seed),
        "seeds of the finals": ", ".join(map(str, record.space.final_seeds)),
        "features": store.fingerprint,
        **{name: value for name, value in made.items() if value},
    }


def _yaml(plain: Mapping[str, Any]) -> str:
    """Return a mapping as YAML, in the order of its keys."""
    return yaml.safe_dump(dict(plain), sort_keys=False, allow_unicode=True)
