"""Register a sweep's winner; it becomes `champion` only if it is significantly better.

The comparison with the current champion uses the validation texts of all seeds, which each version
keeps among its artifacts, so it does not need the champion's sweep folder.
"""

import shutil
import tempfile
from pathlib import Path

from kinesweep.config.recipe.evaluation import ScoringProtocol
from kinesweep.core.hashing import fingerprint
from kinesweep.core.io import read_json
from kinesweep.evaluation.predictions import Prediction, read_predictions
from kinesweep.evaluation.scoring import RAW, Measure
from kinesweep.export.bundle import MANIFEST
from kinesweep.store import Store
from kinesweep.sweeps.results.ranking import RankingEntry, rank
from kinesweep.sweeps.results.sweep_result import SweepOutcome
from kinesweep.tracking.backends import MlflowLogs
from kinesweep.tracking.links import find_run
from kinesweep.tracking.registry import Registry, Version, model_name
from kinesweep.training.run_records.result import read_result

_BUNDLE, _JUDGED_ON = "bundle_sha256", "judged_on"


def register_winner(
    logs: MlflowLogs,
    sweep: Path,
    name: str,
    outcome: SweepOutcome,
    store: Store,
    bundle: Path,
    protocol: ScoringProtocol = RAW,
) -> str:
    """Register a sweep's winner and return a sentence with the verdict.

    A second call for the same bundle changes nothing.

    Args:
        logs: MLflow experiment in which the sweep was recorded.
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
    registry, name = Registry(logs.uri), model_name(name)
    own = fingerprint(read_json(bundle / MANIFEST))
    # Run folders are named `CONFIG-sSEED`.
    texts = {int(run.rpartition("-s")[2]): _texts(Path(run)) for run in outcome.winner_runs}
    judged_on = _comparison_key(outcome, next(iter(texts.values())))
    known = registry.find(name, _BUNDLE, own)
    if known is not None:
        return f"{name} version {known.number}, already registered"
    champion = registry.champion(name)
    measure = Measure(outcome.metric, protocol)
    wins, why = _compare_with_champion(
        registry, champion, outcome, texts, judged_on, store, measure
    )
    # The texts are stored before the version is created, so that no version lacks the texts that
    # later comparisons need.
    run_id = find_run(logs.uri, logs.experiment, str(sweep))
    with tempfile.TemporaryDirectory() as folder:
        for run in map(Path, outcome.winner_runs):
            kept = Path(folder) / f"validation-s{run.name.rpartition('-s')[2]}.tsv"
            shutil.copyfile(run / "predictions" / "validation.tsv", kept)
        registry.keep_texts(run_id, Path(folder))
    tags = {_BUNDLE: own, _JUDGED_ON: judged_on, "sweep": sweep.name, "question": outcome.question}
    version = registry.register(name, run_id, bundle, tags)
    registry.decide(name, version, wins, why)
    return f"{name} version {version.number}, {'champion' if wins else 'not champion'}: {why}"


def _texts(run: Path) -> list[Prediction]:
    """Return a run's predictions on validation."""
    return read_predictions(run / "predictions" / "validation.tsv")


def _comparison_key(outcome: SweepOutcome, lines: list[Prediction]) -> str:
    """Return a hash of what comparable scores must share: references, metric and protocol."""
    result = read_result(Path(outcome.winner_runs[0]))
    signature = result.signatures.get(outcome.metric, "") if result is not None else ""
    references = {line.clip_id: list(line.references) for line in lines}
    return fingerprint({"references": references, "signature": signature})


def _compare_with_champion(
    registry: Registry,
    champion: Version | None,
    outcome: SweepOutcome,
    texts: dict[int, list[Prediction]],
    judged_on: str,
    store: Store,
    measure: Measure,
) -> tuple[bool, str]:
    """Return whether the winner replaces the champion, and the reason."""
    best = outcome.ranking[0]
    figure = f"{outcome.metric} {best.mean:.2f} [{best.low:.2f}, {best.high:.2f}] on validation"
    if champion is None:
        return True, f"{figure}; it is the first version"
    against = f"version {champion.number}"
    if champion.tags.get(_JUDGED_ON) != judged_on:
        return False, (
            f"{figure}; not compared with {against}, which was scored on other sentences or with"
            " another metric or protocol. Move the alias by hand to make this version the champion"
        )
    with tempfile.TemporaryDirectory() as folder:
        there = registry.texts(champion, Path(folder))
        theirs = {int(p.stem.rpartition("-s")[2]): read_predictions(p) for p in there.glob("*.tsv")}
    entries = [_entry("this", texts, measure), _entry(against, theirs, measure)]
    # Sentences of one document are not independent, so whole documents are resampled. A clip
    # without a document is its own. The order of groups is that of `Measure.rows`: sorted ids.
    documents = {r.clip.id: r.clip.document or r.clip.id for r in store.records("validation")}
    groups = [documents[line.clip_id] for line in sorted(texts[min(texts)], key=_by_id)]
    first, second = rank(entries, groups, measure.of_sums)
    gap = f"{second.gap_to_best:.2f} [{second.gap_low:.2f}, {second.gap_high:.2f}]"
    # Checked before the order: a tie keeps the champion even if the winner's mean is higher.
    if second.tied:
        return False, f"{figure}; not significantly different from {against}: they differ by {gap}"
    if first.name == "this":
        return True, f"{figure}; ahead of {against} by {gap}, p {second.p_value:.2g}"
    return False, f"{figure}; behind {against} by {gap}, p {second.p_value:.2g}"


def _by_id(line: Prediction) -> str:
    """Return the sort key of a prediction."""
    return line.clip_id


def _entry(name: str, texts: dict[int, list[Prediction]], measure: Measure) -> RankingEntry:
    """Return the sentence statistics of all seeds in the form that `rank` expects."""
    seeds = {}
    for seed, lines in texts.items():
        said = {line.clip_id: line.hypothesis for line in lines}
        wanted = {line.clip_id: line.references for line in lines}
        seeds[seed] = measure.rows(said, wanted)
    return RankingEntry(name, seeds)
