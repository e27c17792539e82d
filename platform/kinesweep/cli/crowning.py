"""A sweep's winner in the registry: it becomes `champion` only if it is told apart as better."""

import shutil
import tempfile
from pathlib import Path

from kinesweep.core.hashing import fingerprint
from kinesweep.core.recipe.evaluation import Protocol
from kinesweep.export.bundle import MANIFEST
from kinesweep.store import Store
from kinesweep.sweeps.outcome import Outcome
from kinesweep.sweeps.ranking import Entry, rank
from kinesweep.tracking.factory import MlflowLogs
from kinesweep.tracking.links import find_run
from kinesweep.tracking.registry import Registry, Version, model_name
from kinesweep.training.files import read_json
from kinesweep.training.predictions import Prediction, read_predictions
from kinesweep.training.result import read_result
from kinesweep.training.scoring import RAW, Measure

_BUNDLE, _JUDGED_ON = "bundle_sha256", "judged_on"


def register_winner(
    logs: MlflowLogs,
    sweep: Path,
    name: str,
    outcome: Outcome,
    store: Store,
    bundle: Path,
    protocol: Protocol = RAW,
) -> str:
    """Registers a sweep's winner; says what became of it, in a sentence.

    Called again for the same bundle it changes nothing.

    Args:
        logs: where the sweep was recorded.
        sweep: its folder.
        name: of the model, such as the recipe's.
        outcome: what the sweep found.
        store: the features, for the documents of validation.
        bundle: the winner's.
        protocol: under which texts are scored.

    Raises:
        TrackingError: the server is away.
    """
    registry, name = Registry(logs.uri), model_name(name)
    own = fingerprint(read_json(bundle / MANIFEST))
    texts = {int(run.rpartition("-s")[2]): _texts(Path(run)) for run in outcome.winner_runs}
    judged_on = _judged_on(outcome, next(iter(texts.values())))
    known = registry.find(name, _BUNDLE, own)
    if known is not None:
        return f"{name} version {known.number}, registered before"
    champion = registry.champion(name)
    measure = Measure(outcome.metric, protocol)
    wins, why = _verdict(registry, champion, outcome, texts, judged_on, store, measure)
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
    return read_predictions(run / "predictions" / "validation.tsv")


def _judged_on(outcome: Outcome, lines: list[Prediction]) -> str:
    """What two scores must share to be compared: sentences, metric, protocol."""
    result = read_result(Path(outcome.winner_runs[0]))
    signature = result.signatures.get(outcome.metric, "") if result is not None else ""
    references = {line.clip_id: list(line.references) for line in lines}
    return fingerprint({"references": references, "signature": signature})


def _verdict(
    registry: Registry,
    champion: Version | None,
    outcome: Outcome,
    texts: dict[int, list[Prediction]],
    judged_on: str,
    store: Store,
    measure: Measure,
) -> tuple[bool, str]:
    """Whether the winner replaces the champion, and why."""
    best = outcome.ranking[0]
    figure = f"{outcome.metric} {best.mean:.2f} [{best.low:.2f}, {best.high:.2f}] on validation"
    if champion is None:
        return True, f"{figure}; the first"
    against = f"version {champion.number}"
    if champion.tags.get(_JUDGED_ON) != judged_on:
        return False, (
            f"{figure}; not compared with {against}, which was scored on other sentences or"
            " otherwise. Move the alias by hand if this one should be it"
        )
    with tempfile.TemporaryDirectory() as folder:
        there = registry.texts(champion, Path(folder))
        theirs = {int(p.stem.rpartition("-s")[2]): read_predictions(p) for p in there.glob("*.tsv")}
    entries = [_entry("this", texts, measure), _entry(against, theirs, measure)]
    documents = {r.clip.id: r.clip.document or r.clip.id for r in store.records("validation")}
    groups = [documents[line.clip_id] for line in sorted(texts[min(texts)], key=_by_id)]
    first, second = rank(entries, groups, measure.of_sums)
    gap = f"{second.behind:.2f} [{second.behind_low:.2f}, {second.behind_high:.2f}]"
    if second.tied:
        return False, f"{figure}; not told apart from {against}: they differ by {gap}"
    if first.name == "this":
        return True, f"{figure}; ahead of {against} by {gap}, p {second.p_value:.2g}"
    return False, f"{figure}; behind {against} by {gap}, p {second.p_value:.2g}"


def _by_id(line: Prediction) -> str:
    return line.clip_id


def _entry(name: str, texts: dict[int, list[Prediction]], measure: Measure) -> Entry:
    """The statistics that `rank` wants."""
    seeds = {}
    for seed, lines in texts.items():
        said = {line.clip_id: line.hypothesis for line in lines}
        wanted = {line.clip_id: line.references for line in lines}
        seeds[seed] = measure.rows(said, wanted)
    return Entry(name, seeds)
