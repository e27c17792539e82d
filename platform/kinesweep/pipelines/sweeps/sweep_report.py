"""The report of a sweep: its data, collected from the sweep's folder, its runs and its store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import yaml

from kinesweep.config.any_recipe import AnyRecipe
from kinesweep.config.pretraining_recipe import PretrainingRecipe
from kinesweep.core.paths import compute_directory_size
from kinesweep.core.units import format_bytes
from kinesweep.evaluation.text_normalization import describe_protocol
from kinesweep.evaluation.tokenization.protocol import resolve_evaluation, resolve_protocol
from kinesweep.evaluation.train_overlap import get_train_sentences
from kinesweep.features.quality.split_quality import build_quality_rows
from kinesweep.pipelines.sweeps.learning_curves import collect_learning_curves
from kinesweep.pipelines.sweeps.report_media import render_winner_samples
from kinesweep.pipelines.sweeps.winner_translations import (
    collect_translation_samples,
    compute_scores_by_train_overlap,
    read_run_predictions,
)
from kinesweep.report import (
    SubsetScores,
    SweepReport,
    TranslationSample,
    TrialSummary,
    write_report,
)
from kinesweep.store import Store, open_store
from kinesweep.sweeps.journal.journal import Trial, build_trials, read_journal
from kinesweep.sweeps.journal.sweep_metadata import SweepMetadata, read_sweep_metadata
from kinesweep.sweeps.journal.worked_time import compute_worked_hours
from kinesweep.sweeps.results.outcome_file import read_sweep_outcome
from kinesweep.sweeps.results.sweep_outcome import SweepOutcome
from kinesweep.sweeps.space.parameter import SearchParameter
from kinesweep.sweeps.space.space import SearchSpace
from kinesweep.sweeps.study.storage import format_dashboard_command

REPORT_DIR = "report"


def write_sweep_report(folder: Path) -> Path:
    """Write the report of a finished sweep into its folder and return the path of its page.

    Nothing is logged; the page names whatever could not be drawn.

    Args:
        folder: Folder of the sweep.

    Raises:
        CheckpointError: If the folder contains no sweep or if the sweep is not finished.
        StoreError: If its features do not exist any more.
    """
    report = collect_report_data(folder)
    winner_run = Path(read_sweep_outcome(folder).winner_runs[0])
    base_store = open_store(read_sweep_metadata(folder).store_dir)
    if isinstance(read_sweep_metadata(folder).recipe, PretrainingRecipe):
        omission = (
            "images and attention of the winner's clips (it was pretrained and writes no text)"
        )
        return write_report(folder / REPORT_DIR, replace(report, not_drawn=[omission]))
    # The images are drawn first, because the page embeds them.
    images, omissions = render_winner_samples(
        folder / REPORT_DIR,
        winner_run,
        read_run_predictions(winner_run, "validation"),
        base_store,
    )
    illustrated_report = replace(report, pictures=images, not_drawn=omissions)
    return write_report(folder / REPORT_DIR, illustrated_report)


def collect_report_data(folder: Path) -> SweepReport:
    """Collect the data of a finished sweep's report, without images and attention pages.

    Args:
        folder: Folder of the sweep.

    Raises:
        CheckpointError: If the folder contains no sweep or if the sweep is not finished.
        StoreError: If its features do not exist any more.
    """
    metadata, outcome = read_sweep_metadata(folder), read_sweep_outcome(folder)
    space, recipe, store = metadata.space, metadata.recipe, open_store(metadata.store_dir)
    events = read_journal(folder)
    trials = build_trials(events)
    texts = _collect_texts(outcome, recipe, store)
    return SweepReport(
        sweep=folder.name,
        question=outcome.question,
        answer=outcome.answer,
        metric=outcome.metric,
        objectives={
            objective.name: "max" if objective.direction_sign > 0 else "min"
            for objective in space.objectives
        },
        winner=outcome.winner,
        winner_values=outcome.winner_values,
        ranking=[vars(ranked) for ranked in outcome.ranking],
        levels=outcome.levels,
        means=outcome.objectives,
        front=outcome.front,
        sanity=outcome.sanity,
        test=outcome.test,
        notes=outcome.notes,
        parameters={
            name: _describe_parameter(parameter)
            for name, parameter in space.searched_parameters.items()
        },
        trials=[
            TrialSummary(
                trial.number, trial.values, trial.state, trial.scores, trial.reason, trial.seconds
            )
            for trial in trials
        ],
        curves=collect_learning_curves(folder, space.search.seed, trials, events),
        samples=texts.samples,
        parts=texts.parts,
        costs=_summarize_costs(folder, store, space, trials, events),
        failures=_list_failures(trials, events),
        repeat=_collect_provenance(folder, metadata, store, texts.protocol),
        space=_format_yaml(space.model_dump(mode="json", by_alias=True, exclude_none=True)),
        recipe=_format_yaml(recipe.model_dump(mode="json", by_alias=True)),
        quality=build_quality_rows(store.quality) if store.quality else (),
    )


@dataclass(frozen=True)
class _ReportTexts:
    """What a report shows of translations; empty for a sweep over pretraining.

    Attributes:
        samples: Translations by the winner's exported seed.
        parts: Separate scores of sentences that occur in train and of those that do not.
        protocol: Description of the scores.
    """

    samples: Sequence[TranslationSample]
    parts: Sequence[SubsetScores]
    protocol: str


def _collect_texts(outcome: SweepOutcome, recipe: AnyRecipe, store: Store) -> _ReportTexts:
    """Collect the translations of a sweep's winner and their scores.

    Args:
        outcome: Result of the sweep.
        recipe: Recipe of the sweep.
        store: Store of the recipe.
    """
    if isinstance(recipe, PretrainingRecipe):
        kind = recipe.objective.kind
        return _ReportTexts([], [], f"validation of the pretraining objective `{kind}`")
    train_texts = get_train_sentences(store)
    return _ReportTexts(
        collect_translation_samples(outcome, recipe, store, train_texts),
        compute_scores_by_train_overlap(
            outcome, resolve_evaluation(recipe.evaluation, store), train_texts
        ),
        describe_protocol(resolve_protocol(recipe.evaluation, store)),
    )


def _describe_parameter(parameter: SearchParameter) -> dict[str, str]:
    """Describe the role, the rationale, the range and the distribution of a searched parameter.

    The range is a text for people, the distribution is Optuna's JSON.
    """
    ranges = {"log": parameter.log, "float": parameter.float_, "int": parameter.int_}
    # A parameter has one range at most; without a range, it has choices.
    range_texts = [
        f"{limits[0]:g} – {limits[1]:g} ({kind})"
        for kind, limits in ranges.items()
        if limits is not None
    ]
    distribution = parameter.to_optuna_distribution()
    return {
        "role": parameter.role,
        "rationale": parameter.rationale,
        "range": range_texts[0] if range_texts else ", ".join(map(str, parameter.choices or ())),
        "distribution": optuna.distributions.distribution_to_json(distribution),
    }


def _summarize_costs(
    folder: Path,
    store: Store,
    space: SearchSpace,
    trials: Sequence[Trial],
    events: Sequence[Mapping[str, Any]],
) -> dict[str, str]:
    """Summarize the time, the devices and the disk space that a sweep used as label → text.

    Args:
        folder: Folder of the sweep.
        store: Store of the sweep's recipe.
        space: Search space, for the resources of a run.
        trials: Trials of the search.
        events: Events of the sweep's journal.
    """
    final_runs = [event for event in events if event["event"] in ("run_finished", "run_failed")]
    search_seconds = sum(trial.seconds for trial in trials)
    finals_seconds = sum(event.get("seconds", 0.0) for event in final_runs)
    resources = space.resources
    # Without GPUs, the CPUs that a run reserves are the scarce resource.
    num_devices = resources.workers * (resources.gpus or resources.cpus)
    device_kind = "GPU" if resources.gpus else "CPU"
    device_hours = num_devices * (search_seconds + finals_seconds) / 3600
    return {
        "wall-clock time": f"{compute_worked_hours(events):.2f} h",
        "search": f"{search_seconds / 3600:.2f} h of {len(trials)} runs",
        "finals": f"{finals_seconds / 3600:.2f} h of {len(final_runs)} runs",
        "devices": f"{num_devices:g} {device_kind} per run, {device_hours:.2f} {device_kind} h",
        "features": f"{format_bytes(store.compute_disk_bytes())} in {store.folder.name}",
        "run folders": format_bytes(compute_directory_size(folder)),
    }


def _list_failures(trials: Sequence[Trial], events: Sequence[Mapping[str, Any]]) -> list[str]:
    """List failed and killed trials and runs as sentences with their reasons."""
    failures = [
        f"trial {trial.number} failed: {trial.reason}"
        for trial in trials
        if trial.state == "failed"
    ]
    predicates = {
        "trial_died": "died and was retried",
        "run_died": "died and was retried",
        "run_failed": "failed",
    }
    for event in events:
        if event["event"] in predicates:
            subject = event.get("run") or f"trial {event['trial']}"
            failures.append(f"{subject} {predicates[event['event']]}: {event['reason']}")
    return failures


def _collect_provenance(
    folder: Path, metadata: SweepMetadata, store: Store, protocol: str
) -> dict[str, str]:
    """Collect the commands, the seeds, the data and the versions of a sweep as label → text."""
    return {
        "command": "kinesweep sweep SPACE.yaml (the space and the recipe are shown below)",
        "Optuna study": format_dashboard_command(folder, metadata.space.study_storage),
        "search seed": str(metadata.space.search.seed),
        "seeds of the finals": ", ".join(map(str, metadata.space.final_seeds)),
        "features": store.fingerprint,
        "scores": protocol,
        **{name: value for name, value in metadata.made_with.items() if value},
    }


def _format_yaml(values: Mapping[str, Any]) -> str:
    """Format a mapping as YAML, in the order of its keys."""
    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)
