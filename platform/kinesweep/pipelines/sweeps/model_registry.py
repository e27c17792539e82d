"""Register a sweep's winner; it becomes `champion` only if it is significantly better.

The comparison with the current champion uses the validation texts of all seeds, which each version
keeps among its artifacts, so it does not need the champion's sweep folder.
"""

import shutil
import tempfile
from pathlib import Path

from kinesweep.config.recipe.evaluation import ScoringProtocol
from kinesweep.core.hashing import compute_fingerprint
from kinesweep.core.io import read_json
from kinesweep.evaluation.predictions import Prediction, read_predictions
from kinesweep.evaluation.scoring import RAW_PROTOCOL, CorpusMetric
from kinesweep.export.bundle import MANIFEST
from kinesweep.store import Store
from kinesweep.sweeps.results.ranking import RankingEntry, rank_configurations
from kinesweep.sweeps.results.sweep_result import SweepOutcome
from kinesweep.tracking.backends import MlflowTracker
from kinesweep.tracking.links import find_sweep_run_id
from kinesweep.tracking.registry import ModelRegistry, ModelVersion, sanitize_model_name
from kinesweep.training.run_records.result import read_run_result

_BUNDLE_TAG, _COMPARISON_KEY_TAG = "bundle_sha256", "judged_on"


def register_winner(
    tracker: MlflowTracker,
    sweep: Path,
    name: str,
    outcome: SweepOutcome,
    store: Store,
    bundle: Path,
    protocol: ScoringProtocol = RAW_PROTOCOL,
) -> str:
    """Register a sweep's winner and return a sentence with the verdict.

    A second call for the same bundle changes nothing.

    Args:
        tracker: MLflow experiment in which the sweep was recorded.
        sweep: Folder of the sweep.
        name: Name of the registered model, such as the recipe's name.
        outcome: Result of the sweep.
        store: Store of the winner's features, from which the documents of validation are read.
        bundle: Folder of the winner's bundle.
        protocol: Protocol under which texts are scored.

    Raises:
        TrackingError: If the server cannot be reached.
    """
    # The manifest has a hash of every file of the bundle, so its hash identifies the bundle.
    registry, name = ModelRegistry(tracker.uri), sanitize_model_name(name)
    bundle_hash = compute_fingerprint(read_json(bundle / MANIFEST))
    # Run folders are named `CONFIG-sSEED`.
    predictions_by_seed = {
        int(run.rpartition("-s")[2]): _read_validation_predictions(Path(run))
        for run in outcome.winner_runs
    }
    comparison_key = _compute_comparison_key(outcome, next(iter(predictions_by_seed.values())))
    existing_version = registry.find_version_by_tag(name, _BUNDLE_TAG, bundle_hash)
    if existing_version is not None:
        return f"{name} version {existing_version.number}, already registered"
    champion = registry.get_champion(name)
    measure = CorpusMetric(outcome.metric, protocol)
    is_champion, reason = _compare_with_champion(
        registry, champion, outcome, predictions_by_seed, comparison_key, store, measure
    )
    # The texts are stored before the version is created, so that no version lacks the texts that
    # later comparisons need.
    run_id = find_sweep_run_id(tracker.uri, tracker.experiment, str(sweep))
    with tempfile.TemporaryDirectory() as folder:
        for run in map(Path, outcome.winner_runs):
            copy_path = Path(folder) / f"validation-s{run.name.rpartition('-s')[2]}.tsv"
            shutil.copyfile(run / "predictions" / "validation.tsv", copy_path)
        registry.upload_predictions(run_id, Path(folder))
    tags = {
        _BUNDLE_TAG: bundle_hash,
        _COMPARISON_KEY_TAG: comparison_key,
        "sweep": sweep.name,
        "question": outcome.question,
    }
    version = registry.register_version(name, run_id, bundle, tags)
    registry.record_decision(name, version, is_champion, reason)
    return (
        f"{name} version {version.number}, {'champion' if is_champion else 'not champion'}:"
        f" {reason}"
    )


def _read_validation_predictions(run: Path) -> list[Prediction]:
    """Read a run's predictions on the validation split."""
    return read_predictions(run / "predictions" / "validation.tsv")


def _compute_comparison_key(outcome: SweepOutcome, predictions: list[Prediction]) -> str:
    """Compute a hash of the references, the metric and the scoring protocol.

    Scores are comparable only if their keys are equal.
    """
    result = read_run_result(Path(outcome.winner_runs[0]))
    signature = result.signatures.get(outcome.metric, "") if result is not None else ""
    references = {line.clip_id: list(line.references) for line in predictions}
    return compute_fingerprint({"references": references, "signature": signature})


def _compare_with_champion(
    registry: ModelRegistry,
    champion: ModelVersion | None,
    outcome: SweepOutcome,
    predictions_by_seed: dict[int, list[Prediction]],
    comparison_key: str,
    store: Store,
    measure: CorpusMetric,
) -> tuple[bool, str]:
    """Compare the winner with the champion; return whether it replaces it, and the reason."""
    best = outcome.ranking[0]
    score_text = f"{outcome.metric} {best.mean:.2f} [{best.low:.2f}, {best.high:.2f}] on validation"
    if champion is None:
        return True, f"{score_text}; it is the first version"
    champion_name = f"version {champion.number}"
    if champion.tags.get(_COMPARISON_KEY_TAG) != comparison_key:
        return False, (
            f"{score_text}; not compared with {champion_name}, which was scored on other sentences"
            " or with"
            " another metric or protocol. Move the alias by hand to make this version the champion"
        )
    with tempfile.TemporaryDirectory() as folder:
        texts_dir = registry.download_predictions(champion, Path(folder))
        champion_predictions = {
            int(p.stem.rpartition("-s")[2]): read_predictions(p) for p in texts_dir.glob("*.tsv")
        }
    entries = [
        _build_ranking_entry("this", predictions_by_seed, measure),
        _build_ranking_entry(champion_name, champion_predictions, measure),
    ]
    # Sentences of one document are not independent, so whole documents are resampled. A clip
    # without a document is its own. The order of groups is that of
    # `CorpusMetric.compute_clip_statistics`: sorted ids.
    documents = {r.clip.id: r.clip.document or r.clip.id for r in store.get_records("validation")}
    groups = [
        documents[line.clip_id]
        for line in sorted(predictions_by_seed[min(predictions_by_seed)], key=_get_clip_id)
    ]
    first, second = rank_configurations(entries, groups, measure.compute_score_from_sum)
    gap_text = f"{second.gap_to_best:.2f} [{second.gap_low:.2f}, {second.gap_high:.2f}]"
    # Checked before the order: a tie keeps the champion even if the winner's mean is higher.
    if second.tied:
        return (
            False,
            f"{score_text}; not significantly different from {champion_name}: they differ by"
            f" {gap_text}",
        )
    if first.name == "this":
        return True, f"{score_text}; ahead of {champion_name} by {gap_text}, p {second.p_value:.2g}"
    return False, f"{score_text}; behind {champion_name} by {gap_text}, p {second.p_value:.2g}"


def _get_clip_id(line: Prediction) -> str:
    """Return the clip id of a prediction, its sort key."""
    return line.clip_id


def _build_ranking_entry(
    name: str, predictions_by_seed: dict[int, list[Prediction]], measure: CorpusMetric
) -> RankingEntry:
    """Build a ranking entry from the sentence statistics of all seeds."""
    seeds = {}
    for seed, predictions in predictions_by_seed.items():
        hypotheses = {line.clip_id: line.hypothesis for line in predictions}
        references = {line.clip_id: line.references for line in predictions}
        seeds[seed] = measure.compute_clip_statistics(hypotheses, references)
    return RankingEntry(name, seeds)
