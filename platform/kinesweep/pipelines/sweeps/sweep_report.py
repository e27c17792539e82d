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
from kinesweep.core.paths import compute_directory_size
from kinesweep.core.units import format_bytes
from kinesweep.evaluation.predictions import Prediction, read_predictions
from kinesweep.evaluation.scoring import compute_sentence_chrf
from kinesweep.evaluation.train_overlap import get_train_sentences, score_by_train_overlap
from kinesweep.pipelines.sweeps.report_media import render_winner_samples
from kinesweep.report import (
    LearningCurve,
    SubsetScores,
    SweepReport,
    TranslationSample,
    TrialSummary,
    write_report,
)
from kinesweep.store import Store, open_store
from kinesweep.sweeps.journal.journal import build_trials, compute_worked_hours, read_journal
from kinesweep.sweeps.journal.run_folders import RUNS, format_run_name
from kinesweep.sweeps.journal.sweep_metadata import (
    SweepMetadata,
    read_sweep_metadata,
    read_sweep_outcome,
)
from kinesweep.sweeps.results.sweep_result import SweepOutcome
from kinesweep.sweeps.space.parameter import SearchParameter
from kinesweep.sweeps.space.space import SearchSpace
from kinesweep.training.run_records.metrics import read_metrics
from kinesweep.training.run_records.run_identity import METRICS_FILE

REPORT_DIR = "report"


def write_sweep_report(folder: Path) -> Path:
    """Write the report of a finished sweep into its folder and return the path of its page.

    Args:
        folder: Folder of the sweep.

    Raises:
        CheckpointError: If there is no sweep or if it is not finished.
        StoreError: If its features do not exist any more.
    """
    report = collect_report_data(folder)
    run = Path(read_sweep_outcome(folder).winner_runs[0])
    base = open_store(read_sweep_metadata(folder).store)
    # The images are drawn first, because the page embeds them.
    images, omissions = render_winner_samples(
        folder / REPORT_DIR, run, _read_run_predictions(run, "validation"), base
    )
    illustrated_report = replace(report, pictures=images, not_drawn=omissions)
    return write_report(folder / REPORT_DIR, illustrated_report)


def collect_report_data(folder: Path) -> SweepReport:
    """Collect the data of a sweep's report, without images."""
    record, outcome = read_sweep_metadata(folder), read_sweep_outcome(folder)
    store = open_store(record.store)
    events = read_journal(folder)
    trials = build_trials(events)
    train_texts = get_train_sentences(store)
    return SweepReport(
        sweep=folder.name,
        question=outcome.question,
        answer=outcome.answer,
        metric=outcome.metric,
        objectives={
            m.name: "max" if m.direction_sign > 0 else "min" for m in record.space.objectives
        },
        winner=outcome.winner,
        winner_values=outcome.winner_values,
        ranking=[vars(line) for line in outcome.ranking],
        levels=outcome.levels,
        means=outcome.objectives,
        front=outcome.front,
        sanity=outcome.sanity,
        test=outcome.test,
        notes=outcome.notes,
        parameters={n: _describe_parameter(p) for n, p in record.space.searched_parameters.items()},
        trials=[
            TrialSummary(t.number, t.values, t.state, t.scores, t.reason, t.seconds) for t in trials
        ],
        curves=_collect_curves(folder, record, trials, events),
        samples=_collect_samples(outcome, record.recipe, store, train_texts),
        parts=_compute_scores_by_train_overlap(outcome, record.recipe, train_texts),
        costs=_summarize_costs(folder, store, record.space, trials, events),
        failures=_list_failures(trials, events),
        repeat=_collect_provenance(record, store),
        space=_format_yaml(record.space.model_dump(mode="json", by_alias=True, exclude_none=True)),
        recipe=_format_yaml(record.recipe.model_dump(mode="json", by_alias=True)),
    )


def _describe_parameter(parameter: SearchParameter) -> dict[str, str]:
    """Describe a searched parameter as text, with its distribution as Optuna's JSON."""
    ranges = {"log": parameter.log, "float": parameter.float_, "int": parameter.int_}
    range_texts = [
        f"{low:g} – {high:g} ({kind})" for kind, (low, high) in _select_set_ranges(ranges)
    ]
    distribution = parameter.to_optuna_distribution()
    return {
        "role": parameter.role,
        "rationale": parameter.rationale,
        "range": range_texts[0] if range_texts else ", ".join(map(str, parameter.choices or ())),
        "distribution": optuna.distributions.distribution_to_json(distribution),
    }


def _select_set_ranges(ranges: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Select the ranges that are set; a parameter has at most one."""
    return [(kind, limits) for kind, limits in ranges.items() if limits is not None]


def _collect_curves(
    folder: Path, record: SweepMetadata, trials: Sequence[Any], events: Sequence[Mapping[str, Any]]
) -> list[LearningCurve]:
    """Collect the learning curves of all runs, those of the search first."""
    seed = record.space.search.seed
    # A duplicate trial was not trained; it copies the result of an equal configuration.
    runs = [
        (f"trial {t.number}", "search", t.state, format_run_name(t.config_hash, seed))
        for t in trials
        if t.duplicate_of is None
    ]
    end_states = {"run_finished": "finished", "run_failed": "failed"}
    for event in events:
        if event["event"] in end_states:
            name = f"{event['finalist']}, seed {event['run'].rpartition('-s')[2]}"
            runs.append((name, "finals", end_states[event["event"]], event["run"]))
    return [
        curve
        for name, phase, state, run in runs
        if (curve := _read_curve(name, phase, state, folder / RUNS / run / METRICS_FILE))
        is not None
    ]


def _read_curve(name: str, phase: str, state: str, path: Path) -> LearningCurve | None:
    """Read the learning curve of one run; return None if the run was never evaluated."""
    # Rows with `token_loss` are evaluations; the others are logs of training steps.
    rows = [row for row in read_metrics(path) if "token_loss" in row]
    if not rows:
        return None
    names = {name for row in rows for name in row} - {"step", "samples"}
    values_by_metric = {
        name: [_replace_non_finite(row.get(name)) for row in rows] for name in sorted(names)
    }
    return LearningCurve(name, phase, state, [row["samples"] for row in rows], values_by_metric)


def _replace_non_finite(value: float | None) -> float | None:
    """Replace NaN and infinity, which JSON cannot represent, by None."""
    return value if value is not None and math.isfinite(value) else None


def _collect_samples(
    outcome: SweepOutcome, recipe: Recipe, store: Store, train_texts: set[str]
) -> list[TranslationSample]:
    """Collect the validation translations of the winner's exported seed."""
    lines = _read_run_predictions(Path(outcome.winner_runs[0]), "validation")
    hypotheses = {line.clip_id: line.hypothesis for line in lines}
    references = {line.clip_id: line.references for line in lines}
    scores = compute_sentence_chrf(hypotheses, references, recipe.evaluation.protocol_config)
    records = {record.clip.id: record for record in store.get_records("validation")}
    return [
        TranslationSample(
            clip=line.clip_id,
            signer=records[line.clip_id].clip.signer,
            frames=max(records[line.clip_id].lengths.values()),
            reference=line.references[0],
            hypothesis=line.hypothesis,
            score=round(scores[line.clip_id], 1),
            in_train=any(text in train_texts for text in line.references),
        )
        for line in lines
    ]


def _compute_scores_by_train_overlap(
    outcome: SweepOutcome, recipe: Recipe, train_texts: set[str]
) -> list[SubsetScores]:
    """Compute separate scores of sentences that occur in train and of those that do not."""
    scores = []
    for split in ("validation", "test"):
        runs = [_read_run_predictions(Path(run), split) for run in outcome.winner_runs]
        # A split that was not decoded for every seed has no mean over seeds.
        if not all(runs):
            continue
        by_run = [score_by_train_overlap(lines, train_texts, recipe.evaluation) for lines in runs]
        for parts in zip(*by_run, strict=True):  # all runs have the same clips
            means = {name: fmean(part.scores[name] for part in parts) for name in parts[0].scores}
            scores.append(SubsetScores(f"{split}, {parts[0].what}", parts[0].clips, means))
    return scores


def _read_run_predictions(run: Path, split: str) -> list[Prediction]:
    """Read a run's predictions on a split; return an empty list if it was not decoded."""
    path = run / "predictions" / f"{split}.tsv"
    return read_predictions(path) if path.exists() else []


def _summarize_costs(
    folder: Path,
    store: Store,
    space: SearchSpace,
    trials: Sequence[Any],
    events: Sequence[Mapping[str, Any]],
) -> dict[str, str]:
    """Summarize the costs of a sweep: wall-clock time, run time, device hours, disk space."""
    finals = [e for e in events if e["event"] in ("run_finished", "run_failed")]
    search_seconds = sum(t.seconds for t in trials)
    finals_seconds = sum(e.get("seconds", 0.0) for e in finals)
    resources = space.resources
    # Without GPUs, the CPUs that a run reserves are the scarce resource.
    devices = resources.workers * (resources.gpus or resources.cpus)
    kind = "GPU" if resources.gpus else "CPU"
    hours = devices * (search_seconds + finals_seconds) / 3600
    return {
        "wall-clock time": f"{compute_worked_hours(events):.2f} h",
        "search": f"{search_seconds / 3600:.2f} h of {len(trials)} runs",
        "finals": f"{finals_seconds / 3600:.2f} h of {len(finals)} runs",
        "devices": f"{devices:g} {kind} per run, {hours:.2f} {kind} h",
        "features": f"{format_bytes(compute_directory_size(store.folder))} in {store.folder.name}",
        "run folders": format_bytes(compute_directory_size(folder)),
    }


def _list_failures(trials: Sequence[Any], events: Sequence[Mapping[str, Any]]) -> list[str]:
    """List each failure with its reason, including retries of killed runs."""
    lines = [f"trial {t.number} failed: {t.reason}" for t in trials if t.state == "failed"]
    event_texts = {"trial_died": "died and was retried", "run_died": "died and was retried"}
    event_texts |= {"run_failed": "failed"}
    for event in events:
        if event["event"] in event_texts:
            subject = event.get("run") or f"trial {event['trial']}"
            lines.append(f"{subject} {event_texts[event['event']]}: {event['reason']}")
    return lines


def _collect_provenance(record: SweepMetadata, store: Store) -> dict[str, str]:
    """Collect the provenance of the sweep: command, seeds, data and versions."""
    versions = record.made_with
    return {
        "command": "kinesweep sweep SPACE.yaml (the space and the recipe are shown below)",
        "search seed": str(record.space.search.seed),
        "seeds of the finals": ", ".join(map(str, record.space.final_seeds)),
        "features": store.fingerprint,
        **{name: value for name, value in versions.items() if value},
    }


def _format_yaml(values: Mapping[str, Any]) -> str:
    """Format a mapping as YAML, in the order of its keys."""
    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)
