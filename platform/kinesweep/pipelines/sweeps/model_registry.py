"""Register a sweep's winner; it becomes `champion` only if it is significantly better.

The comparison with the current champion uses the validation texts of all seeds, which each version
keeps among its artifacts, so it does not need the champion's sweep folder.
"""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.core.hashing import compute_fingerprint
from kinesweep.core.io import read_json
from kinesweep.core.scores import TASK_ACCURACIES
from kinesweep.evaluation.metrics import TextMetric
from kinesweep.evaluation.predictions import Prediction, read_predictions
from kinesweep.export.bundle_manifest import MANIFEST
from kinesweep.store import Store
from kinesweep.sweeps.journal.run_folders import parse_run_name
from kinesweep.sweeps.results.ranking import RankingEntry, rank_configurations
from kinesweep.sweeps.results.sentence_statistics import build_ranking_metric
from kinesweep.sweeps.results.sweep_outcome import SweepOutcome
from kinesweep.tracking.backends import MlflowTracker
from kinesweep.tracking.mlflow_limits import sanitize_model_name
from kinesweep.tracking.registry import ModelRegistry, ModelVersion
from kinesweep.tracking.sweep_runs import find_parent_run_id
from kinesweep.training.run_records.result import read_run_result

_BUNDLE_TAG, _COMPARISON_KEY_TAG = "bundle_sha256", "judged_on"


def register_winner(
    tracker: MlflowTracker,
    sweep_dir: Path,
    name: str,
    outcome: SweepOutcome,
    store: Store,
    bundle_dir: Path,
    *,
    evaluation: EvaluationConfig = EvaluationConfig(),
) -> str:
    """Register a sweep's winner as a model version and decide whether it becomes the champion.

    A second call for the same bundle changes nothing, unless the first one was interrupted. Nothing
    is logged.

    Args:
        tracker: MLflow experiment in which the sweep was recorded.
        sweep_dir: Folder of the sweep.
        name: Name of the registered model, such as the recipe's name.
        outcome: Result of the sweep.
        store: Store of the winner's features, from which the documents of validation are read.
        bundle_dir: Folder of the winner's bundle.
        evaluation: Metrics and the protocol under which texts are scored.

    Returns:
        A sentence with name, version, decision and reason.

    Raises:
        InputError: If predictions of the winner or the champion are not a valid table.
        TrackingError: If the server cannot be reached.
    """
    # The manifest has a hash of every file of the bundle, so its hash identifies the bundle.
    registry, name = ModelRegistry(tracker.uri), sanitize_model_name(name)
    bundle_hash = compute_fingerprint(read_json(bundle_dir / MANIFEST))
    predictions_by_seed = {
        parse_run_name(Path(run).name).seed: read_predictions(_get_predictions_path(Path(run)))
        for run in outcome.winner_runs
    }
    comparison_key = _compute_comparison_key(outcome, next(iter(predictions_by_seed.values())))
    existing_version = registry.find_version_by_tag(name, _BUNDLE_TAG, bundle_hash)
    # The server may have been lost after the version was created and before it was decided.
    if existing_version is not None and existing_version.reason:
        return f"{name} version {existing_version.number}, already registered"
    champion = registry.get_champion(name)
    if existing_version is not None and champion == existing_version:
        # The alias was moved before the server was lost; a comparison with itself would be a tie.
        reason = "it was found to be better before the registration was interrupted"
        registry.record_decision(name, existing_version, True, reason)
        return f"{name} version {existing_version.number}, champion: {reason}"
    is_champion, reason = _compare_with_champion(
        registry,
        champion,
        outcome,
        predictions_by_seed,
        comparison_key,
        store,
        evaluation=evaluation,
    )
    # The texts are stored before the version is created, so that no version lacks the texts that
    # later comparisons need.
    run_id = find_parent_run_id(tracker.uri, tracker.experiment, str(sweep_dir))
    _upload_predictions(registry, run_id, [Path(run) for run in outcome.winner_runs])
    tags = {
        _BUNDLE_TAG: bundle_hash,
        _COMPARISON_KEY_TAG: comparison_key,
        "sweep": sweep_dir.name,
        "question": outcome.question,
    }
    version = existing_version or registry.register_version(name, run_id, bundle_dir, tags)
    registry.record_decision(name, version, is_champion, reason)
    decision = "champion" if is_champion else "not champion"
    return f"{name} version {version.number}, {decision}: {reason}"


def _get_predictions_path(run: Path) -> Path:
    """Return the path of a run's predictions on the validation split."""
    return run / "predictions" / "validation.tsv"


def _upload_predictions(registry: ModelRegistry, run_id: str, runs: Sequence[Path]) -> None:
    """Upload the validation predictions of runs to an MLflow run, as `validation-sSEED.tsv`.

    Args:
        registry: Registry whose server receives the files.
        run_id: Id of the MLflow run.
        runs: Run folders, one per seed.

    Raises:
        TrackingError: If the server cannot be reached.
    """
    with tempfile.TemporaryDirectory() as folder:
        for run in runs:
            copy_path = Path(folder) / f"validation-s{parse_run_name(run.name).seed}.tsv"
            shutil.copyfile(_get_predictions_path(run), copy_path)
        registry.upload_predictions(run_id, Path(folder))


def _download_predictions(
    registry: ModelRegistry, version: ModelVersion
) -> dict[int, list[Prediction]]:
    """Download the validation predictions of a model version; return seed → predictions.

    Raises:
        TrackingError: If the server cannot be reached.
    """
    with tempfile.TemporaryDirectory() as folder:
        predictions_dir = registry.download_predictions(version, Path(folder))
        return {
            # The files are called `validation-sSEED.tsv`.
            parse_run_name(path.stem).seed: read_predictions(path)
            for path in predictions_dir.glob("*.tsv")
        }


def _compute_comparison_key(outcome: SweepOutcome, predictions: list[Prediction]) -> str:
    """Compute a hash of the references, the metric and the scoring protocol of a sweep.

    Scores of two sweeps are comparable only if their hashes are equal.

    Args:
        outcome: Result of the sweep, whose winner has the signature of metric and protocol.
        predictions: Validation predictions of a run of the sweep, which contain the references.
    """
    result = read_run_result(Path(outcome.winner_runs[0]))
    signature = result.signatures.get(outcome.metric, "") if result is not None else ""
    references = {row.clip_id: list(row.references) for row in predictions}
    return compute_fingerprint({"references": references, "signature": signature})


def _compare_with_champion(
    registry: ModelRegistry,
    champion: ModelVersion | None,
    outcome: SweepOutcome,
    predictions_by_seed: dict[int, list[Prediction]],
    comparison_key: str,
    store: Store,
    *,
    evaluation: EvaluationConfig,
) -> tuple[bool, str]:
    """Compare the winner of a sweep with the current champion.

    Args:
        registry: Registry that has the champion's predictions.
        champion: Current champion; None if there is none yet.
        outcome: Result of the sweep.
        predictions_by_seed: Seed → the winner's validation predictions.
        comparison_key: Hash of what the winner was scored on.
        store: Store of the winner's features, from which the documents of validation are read.
        evaluation: Metrics; both are compared by that of the outcome.

    Returns:
        Whether the winner becomes the champion, and the reason as a sentence.

    Raises:
        TrackingError: If the server cannot be reached.
    """
    best = outcome.ranking[0]
    score_text = f"{outcome.metric} {best.mean:.2f} [{best.low:.2f}, {best.high:.2f}] on validation"
    if champion is None:
        return True, f"{score_text}; it is the first version"
    champion_name = f"version {champion.number}"
    if outcome.metric in TASK_ACCURACIES:
        return False, (
            f"{score_text}; not compared with {champion_name}, because the registry keeps the texts"
            " of models and not their answers. Move the alias by hand to make this version the"
            " champion"
        )
    if champion.tags.get(_COMPARISON_KEY_TAG) != comparison_key:
        return False, (
            f"{score_text}; not compared with {champion_name}, which was scored on other sentences"
            " or with another metric or protocol. Move the alias by hand to make this version the"
            " champion"
        )
    metric = build_ranking_metric(outcome.metric, evaluation, store)
    entries = [
        _build_ranking_entry("this", predictions_by_seed, metric),
        _build_ranking_entry(champion_name, _download_predictions(registry, champion), metric),
    ]
    documents = _list_documents(store, next(iter(predictions_by_seed.values())))
    first, second = rank_configurations(
        entries,
        documents,
        metric.compute_score_from_sum,
        metric.num_resamples,
        sign=-1 if evaluation.is_lower_better(outcome.metric) else 1,
    )
    gap_text = f"{second.gap_to_best:.2f} [{second.gap_low:.2f}, {second.gap_high:.2f}]"
    # Checked before the order: a tie keeps the champion even if the winner's mean is higher.
    if second.tied:
        return False, (
            f"{score_text}; not significantly different from {champion_name}: they differ by"
            f" {gap_text}"
        )
    if first.name == "this":
        return True, f"{score_text}; ahead of {champion_name} by {gap_text}, p {second.p_value:.2g}"
    return False, f"{score_text}; behind {champion_name} by {gap_text}, p {second.p_value:.2g}"


def _list_documents(store: Store, predictions: Sequence[Prediction]) -> list[str]:
    """List the document of each predicted validation clip, in the order of sorted clip ids.

    Sentences of one document are not independent, so the ranking resamples whole documents. A clip
    without a document is one of its own.
    """
    document_by_clip = {
        record.clip.id: record.clip.document or record.clip.id
        for record in store.get_records("validation")
    }
    # `TextMetric.compute_clip_statistics` returns the clips in the same order.
    return [document_by_clip[clip_id] for clip_id in sorted(row.clip_id for row in predictions)]


def _build_ranking_entry(
    name: str, predictions_by_seed: dict[int, list[Prediction]], metric: TextMetric
) -> RankingEntry:
    """Build the ranking entry of a configuration from its predictions.

    Args:
        name: Display name of the configuration.
        predictions_by_seed: Seed → predictions, of the same clips for all seeds.
        metric: Metric whose statistics are computed for each sentence.
    """
    statistics_by_seed = {}
    for seed, predictions in predictions_by_seed.items():
        hypotheses = {row.clip_id: row.hypothesis for row in predictions}
        references = {row.clip_id: row.references for row in predictions}
        statistics_by_seed[seed] = metric.compute_clip_statistics(hypotheses, references)
    return RankingEntry(name, statistics_by_seed)
