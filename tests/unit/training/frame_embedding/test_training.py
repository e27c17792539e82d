"""An embedder finds the order of a movement where joints do not; runs repeat to the bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from kinesweep.config.recipe.model.graph import StgcnEncoderConfig
from kinesweep.core.checkpoint_files import WEIGHTS_FILENAME
from kinesweep.core.errors import CheckpointError, ConfigError, InputError, TrainingError
from kinesweep.core.hashing import compute_file_hashes
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.evaluation.kendall_tau import compute_mean_tau, select_clip_pairs
from kinesweep.features.frame_embedder_io import read_embedder
from kinesweep.store import Store
from kinesweep.training.frame_embedding.kendall_tau_metric import KendallTauMetric
from kinesweep.training.frame_embedding.run import EmbedderSpec, train_embedder
from kinesweep.training.run_records.metrics import read_metrics
from kinesweep.training.run_records.result import RunResult
from movements import movements_recipe, movements_store, write_movements

pytestmark = pytest.mark.integration

LEARNT = {
    "encoder": {"dropout": 0.2},
    "batch": {"batch_size": 16, "augmentation": {"rotation_deg": 45, "noise": 0.1}},
}
OBJECTIVES: dict[str, dict[str, Any]] = {
    "tcc": {
        "embedding": {"kind": "tcc"},
        "training": {"max_steps": 200, "eval_steps": 100, "eval_pairs": 60},
    },
    "carl": {
        "embedding": {"kind": "carl", "sigma": 2.0},
        "training": {"max_steps": 100, "eval_steps": 50, "eval_pairs": 60},
    },
}


class Corpus:
    """The movements, their store, and how far their frames are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.phases = write_movements(folder / "corpus")

    def recipe(self, **changes: Any):
        return movements_recipe(self.folder / "corpus", self.folder / "stores", **changes)

    def train(self, place: Path, report=lambda _: True, log=None, **changes: Any) -> RunResult:
        recipe = self.recipe(**changes)
        spec = EmbedderSpec(recipe, movements_store(recipe).folder, place)
        return train_embedder(spec, log or NullRunLogger(), report)

    def order(self, run: Path) -> float:
        """Tau of what a run wrote, read from its files."""
        records, embedder = self.store.get_records("validation"), read_embedder(run / "best")
        embedded = [embedder(np.asarray(self.store.get_features(r)["pose"])) for r in records]
        return compute_mean_tau(embedded, select_clip_pairs(records, 200, "validation"))

    @property
    def store(self) -> Store:
        return movements_store(self.recipe())


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus(tmp_path_factory.mktemp("movements"))


def warped_error(a: NDArray[Any], b: NDArray[Any], a_phase: NDArray[Any], b_phase: NDArray[Any]):
    """Mean difference of the moments that dynamic time warping puts together."""
    cost = ((a[:, None] - b[None]) ** 2).sum(axis=2) ** 0.5
    total = np.full((len(a) + 1, len(b) + 1), np.inf)
    total[0, 0] = 0
    for i, j in np.ndindex(*cost.shape):
        before = min(total[i, j], total[i, j + 1], total[i + 1, j])
        total[i + 1, j + 1] = cost[i, j] + before
    i, j, off = len(a), len(b), []
    while i and j:
        off.append(abs(a_phase[i - 1] - b_phase[j - 1]))
        steps = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
        i, j = min(steps, key=lambda step: total[step])
    return float(np.mean(off))


@pytest.mark.slow
@pytest.mark.parametrize("kind", OBJECTIVES)
def test_an_embedder_aligns_what_joints_do_not(corpus: Corpus, tmp_path: Path, kind: str) -> None:
    result = corpus.train(tmp_path / "run", **LEARNT, **OBJECTIVES[kind])
    assert result.scores["tau"] > 0.9
    assert result.scores["tau"] > result.scores["tau_frames"] + 0.1
    embedder = read_embedder(tmp_path / "run" / "best")
    assert embedder.scores == result.scores
    records = corpus.store.get_records("validation")
    frames = [np.asarray(corpus.store.get_features(record)["pose"]) for record in records]
    embedded = [embedder(x_TD) for x_TD in frames]
    for e_TE in embedded:
        np.testing.assert_allclose((e_TE**2).sum(axis=1), 1, atol=1e-5)
    # What is read from the files scores as what was trained.
    pairs = select_clip_pairs(records, 60, "validation")
    assert compute_mean_tau(embedded, pairs) == pytest.approx(result.scores["tau"], abs=2e-3)
    assert compute_mean_tau(frames, pairs) == pytest.approx(result.scores["tau_frames"])
    phases = corpus.phases["validation"]
    errors = [
        np.mean([warped_error(x[a], x[b], phases[a], phases[b]) for a, b in pairs[:20]])
        for x in (embedded, frames)
    ]
    assert errors[0] < 0.85 * errors[1]


class KilledError(Exception):
    """What ends a process between two lines."""


def kill_at(step: int):
    def report(measured: dict[str, float]) -> bool:
        if measured["step"] == step:
            raise KilledError
        return True

    return report


@pytest.mark.slow
@pytest.mark.parametrize("kind", OBJECTIVES)
def test_a_killed_run_ends_with_the_same_bits(corpus: Corpus, tmp_path: Path, kind: str) -> None:
    changes = {**LEARNT, "embedding": {"kind": kind}}
    whole = corpus.train(tmp_path / "whole", **changes)
    assert (whole.status, whole.step) == ("finished", 12)
    cut = tmp_path / "cut"
    with pytest.raises(KilledError):
        corpus.train(cut, kill_at(8), **changes)  # measured, not kept
    (cut / "checkpoints" / ".saving-00000008").mkdir()
    assert [path.name for path in (cut / "checkpoints").glob("step-*")] == ["step-00000004"]
    told = []
    again = corpus.train(cut, lambda measured: told.append(measured["step"]) or True, **changes)
    assert told == [8, 12]
    assert again.weights_sha256 == whole.weights_sha256
    assert compute_file_hashes(cut / "best") == compute_file_hashes(tmp_path / "whole" / "best")
    assert (cut / "metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()
    assert not (cut / "checkpoints").exists()


@pytest.mark.slow
def test_a_damaged_checkpoint_is_gone_behind(corpus: Corpus, tmp_path: Path) -> None:
    whole = corpus.train(tmp_path / "whole", **LEARNT)
    cut = tmp_path / "cut"
    with pytest.raises(KilledError):
        corpus.train(cut, kill_at(12), **LEARNT)
    newest = cut / "checkpoints" / "step-00000008" / "optimizer.pt"
    newest.write_bytes(newest.read_bytes()[:-1])
    assert corpus.train(cut, **LEARNT).weights_sha256 == whole.weights_sha256


def test_a_stopped_run_goes_on(corpus: Corpus, tmp_path: Path) -> None:
    whole = corpus.train(tmp_path / "whole")
    stopped = corpus.train(tmp_path / "cut", lambda measured: measured["step"] < 8)
    assert (stopped.status, stopped.reason, stopped.step) == ("stopped", "reported", 8)
    assert not (tmp_path / "cut" / "best").exists()
    assert corpus.train(tmp_path / "cut").weights_sha256 == whole.weights_sha256


@pytest.mark.slow
def test_a_seed_is_a_run_of_its_own(corpus: Corpus, tmp_path: Path) -> None:
    first = corpus.train(tmp_path / "first", **LEARNT)
    torch.manual_seed(1)  # the caller's generators do not matter
    again = corpus.train(tmp_path / "again", **LEARNT)
    other = corpus.train(tmp_path / "other", training={"seed": 6}, **LEARNT)
    assert first.weights_sha256 == again.weights_sha256 != other.weights_sha256


def test_a_finished_run_is_handed_back(corpus: Corpus, tmp_path: Path) -> None:
    first = corpus.train(tmp_path)
    assert corpus.train(tmp_path, kill_at(4)) == first
    with pytest.raises(CheckpointError, match="belongs to another run"):
        corpus.train(tmp_path, training={"learning_rate": 1e-4})


class HeardLog(NullRunLogger):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, set[str]]] = []
        self.ended = ""

    def log_metrics(self, values, step) -> None:
        self.heard.append((step, set(values)))

    def finish(self, status) -> None:
        self.ended = status


def test_what_is_measured(corpus: Corpus, tmp_path: Path) -> None:
    log = HeardLog()
    result = corpus.train(tmp_path, log=log)
    names = {"loss", "tau", "tau_frames", "samples"}
    assert log.heard == [(step, names) for step in (4, 8, 12)]
    assert log.ended == "finished"
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [(row["step"], row["samples"]) for row in rows] == [(4, 64), (8, 128), (12, 192)]
    best = max(rows, key=lambda row: row["tau"])
    assert (result.best_step, result.scores["tau"]) == (best["step"], best["tau"])


def test_the_best_is_written_not_the_last(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taus = iter((0.5, 0.7, 0.7))  # of equals the first
    monkeypatch.setattr(
        KendallTauMetric, "__call__", lambda *_: {"tau": next(taus), "tau_frames": 0.0}
    )
    kept: dict[str, torch.Tensor] = {}

    def report(measured: dict[str, float]) -> bool:
        if measured["step"] == 12:
            kept.update(load_file(tmp_path / "checkpoints" / "step-00000008" / WEIGHTS_FILENAME))
        return True

    result = corpus.train(tmp_path, report)
    assert (result.best_step, result.scores["tau"]) == (8, 0.7)
    written = load_file(tmp_path / "best" / "embedder.safetensors")
    assert {f"network.{name}" for name in kept} == set(written)
    assert all(torch.equal(written[f"network.{name}"], kept[name]) for name in kept)


@pytest.mark.slow
def test_each_way_back_is_learnt_from(corpus: Corpus, tmp_path: Path) -> None:
    ways = {"plain": {}, "variance": {"variance_weight": 1.0}, "class": {"cycle": "classification"}}
    losses = {}
    for name, part in ways.items():
        corpus.train(tmp_path / name, embedding={"kind": "tcc", **part})
        losses[name] = [row["loss"] for row in read_metrics(tmp_path / name / "metrics.jsonl")]
        assert losses[name][-1] < losses[name][0]
    # λ is on log σ, below 0 where σ is a part of the clip; chance among 24 frames is log 24.
    assert losses["variance"][0] < losses["plain"][0] < losses["class"][0] < 3.5


def test_a_graph_encoder_learns_and_is_written(corpus: Corpus, tmp_path: Path) -> None:
    graph = StgcnEncoderConfig(channels=4, blocks=2, kernel=3)
    recipe = corpus.recipe().model_copy(update={"encoder": graph})
    spec = EmbedderSpec(recipe, corpus.store.folder, tmp_path)
    result = train_embedder(spec, NullRunLogger(), lambda _: True)
    assert corpus.order(tmp_path) == pytest.approx(result.scores["tau"], abs=2e-3)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"embedding": {"stream": "poses"}}, ConfigError, "did you mean `pose`"),
        ({"training": {"learning_rate": 1e30}}, TrainingError, "set `training.learning_rate`"),
    ],
)
def test_what_cannot_be_trained(corpus, tmp_path, changes, error, says) -> None:
    with pytest.raises(error, match=says):
        corpus.train(tmp_path, **changes)


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_no_two_clips_of_a_kind(corpus: Corpus, tmp_path: Path, kind: str) -> None:
    split = "train" if kind == "tcc" else "validation"
    with pytest.raises(InputError, match=f"No two of the .* clips of {split} show the same"):
        corpus.train(tmp_path, source={"ignore_columns": ["gloss"]}, embedding={"kind": kind})
