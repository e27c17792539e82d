"""Pretraining runs: what they write, and that neither kills nor workers change their numbers."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fresh_process import FreshProcess
from kinesweep.config.recipe.model.vision import SignHieraVisionConfig
from kinesweep.core.errors import CheckpointError, InputError, ResourceError, TrainingError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.models.vision.vision_loading import create_vision_network
from kinesweep.store import Store
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.pretraining.run import PretrainingSpec, pretrain_run
from kinesweep.training.run_records.metrics import read_metrics
from kinesweep.training.run_records.result import RunResult
from pretraining import pretraining_recipe
from ranks import run_ranks
from vision import film_corpus, film_recipe

pytestmark = pytest.mark.integration
PRETRAIN = """
import json, os, signal, sys
from pathlib import Path
from kinesweep.config.pretraining_recipe import PretrainingRecipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.training.pretraining.run import PretrainingSpec, pretrain_run
recipe = PretrainingRecipe.model_validate_json(Path(sys.argv[1]).read_text())
spec = PretrainingSpec(recipe, Path(sys.argv[2]), Path(sys.argv[3]))
kill_at = int(sys.argv[4])
def report(measured):
    if measured["step"] == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return True
result = pretrain_run(spec, NullRunLogger(), report)
print(json.dumps([result.status, result.weights_sha256]))
"""


class Films:
    """Little films and their store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.corpus = film_corpus(folder / "corpus", train=5, validation=3)

    def recipe(self, **changes: Any):
        return pretraining_recipe(self.corpus, self.folder / "stores", **changes)

    @property
    def store(self) -> Store:
        return extract_locally(self.recipe().corpus_recipe)

    def run(self, place: Path, report=lambda _: True, **changes: Any) -> RunResult:
        recipe = self.recipe(**changes)
        store = extract_locally(recipe.corpus_recipe)
        return pretrain_run(PretrainingSpec(recipe, store.folder, place), NullRunLogger(), report)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Films:
    return Films(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def finished(films: Films) -> RunResult:
    return films.run(films.folder / "finished")


def losses(run: Path, name: str = "loss") -> list[float]:
    return [row[name] for row in read_metrics(run / "metrics.jsonl") if name in row]


def arguments(films: Films, folder: Path, place: Path, kill_at: int, **changes: Any) -> list[str]:
    (folder / "recipe.json").write_text(films.recipe(**changes).model_dump_json())
    return [str(folder / "recipe.json"), str(films.store.folder), str(place), str(kill_at)]


def assert_same_run(run: Path, other: Path) -> None:
    """The same bytes of metrics and weights."""
    for name in ("metrics.jsonl", "best/model.safetensors", "best/objective.safetensors"):
        assert (run / name).read_bytes() == (other / name).read_bytes(), name


def test_a_run_writes_an_encoder_that_extraction_takes(
    films: Films, finished: RunResult, tmp_path: Path
) -> None:
    assert (finished.status, finished.step, finished.samples) == ("finished", 6, 24)
    assert finished.epochs == pytest.approx(2.4)
    best = finished.folder / "best"
    described = json.loads((best / "pretraining.json").read_text())
    assert described["scores"] == finished.scores and described["step"] == finished.best_step
    assert finished.scores["masked_loss"] == min(losses(finished.folder, "masked_loss"))
    # The encoder and the rest share no name, and both together are the objective.
    names = [set(load_file(best / f"{name}.safetensors")) for name in ("model", "objective")]
    assert not names[0] & names[1] and "mask_token" in names[1] and len(names[0]) > 40
    windows = {"num_frames": 8, "sampling_rate": 2}
    encoder = {"kind": "signhiera", "checkpoint": str(best / "model.safetensors")}
    features = {"encoder": encoder, "windows": windows}
    recipe = film_recipe(films.corpus, best, tmp_path / "stores", features=features)
    store = extract_locally(recipe)
    vectors = store.get_features(store.get_records("train")[0])["video"]
    assert vectors.shape[1] == 32 and np.isfinite(vectors).all() and vectors.std() > 0
    vision = SignHieraVisionConfig.model_validate(
        {"pretrained": str(best / "model.safetensors"), "windows": windows}
    )
    network = create_vision_network(vision, frame_size=64)
    assert network.width == 32
    with pytest.raises(InputError, match=r"Set `features\.size` to 64"):
        create_vision_network(vision, frame_size=224)


def test_a_finished_run_is_returned_and_another_one_refused(
    films: Films, finished: RunResult
) -> None:
    again = films.run(finished.folder)
    assert again == finished
    with pytest.raises(CheckpointError, match="config_hash"):
        films.run(finished.folder, objective={"mask_ratio": 0.5})
    with pytest.raises(CheckpointError, match="seed"):
        films.run(finished.folder, training={"seed": 5})


def test_killed_and_resumed_is_uninterrupted(
    films: Films, finished: RunResult, tmp_path: Path
) -> None:
    """Killed after the evaluation of step 4, before its checkpoint: steps 3 and 4 are repeated."""
    process = FreshProcess(PRETRAIN, arguments(films, tmp_path, tmp_path / "run", 4))
    assert process.wait().returncode == -9
    assert not (tmp_path / "run" / "result.json").exists()
    steps = [row["step"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl")]
    assert max(steps) == 4
    assert films.run(tmp_path / "run").weights_sha256 == finished.weights_sha256
    assert_same_run(tmp_path / "run", finished.folder)


def test_stopped_and_resumed_with_loader_processes(
    films: Films, finished: RunResult, tmp_path: Path
) -> None:
    stopped = films.run(tmp_path / "run", report=lambda measured: measured["step"] != 2)
    assert (stopped.status, stopped.reason, stopped.step) == ("stopped", "reported", 2)
    # The processes that prepare batches change nothing.
    films.run(tmp_path / "run", batch={"loader_workers": 2})
    assert_same_run(tmp_path / "run", finished.folder)


@pytest.mark.slow
def test_two_workers_are_one(films: Films, finished: RunResult, tmp_path: Path) -> None:
    """Within the rounding of float32, which adds the windows' gradients in another order."""
    changes = {"batch": {"windows": 2}, "resources": {"workers": 2}}
    given = arguments(films, tmp_path, tmp_path / "two", 0, **changes)
    one, two = run_ranks(PRETRAIN, given, 2)
    assert one == two and one[0] == "finished"
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(finished.folder), rtol=1e-5)
    np.testing.assert_allclose(
        losses(tmp_path / "two", "masked_loss"),
        losses(finished.folder, "masked_loss"),
        rtol=1e-5,
    )
    for name in ("model", "objective"):
        ours, theirs = (
            load_file(run / "best" / f"{name}.safetensors")
            for run in (tmp_path / "two", finished.folder)
        )
        # AdamW divides each gradient by its size, so those that are only rounding take whole steps;
        # a step is 1e-3.
        for key, value in ours.items():
            torch.testing.assert_close(value, theirs[key], atol=2e-4, rtol=0)


@pytest.mark.slow
def test_accumulated_batches_are_one(films: Films, finished: RunResult, tmp_path: Path) -> None:
    films.run(tmp_path / "run", batch={"windows": 2}, training={"gradient_accumulation_steps": 2})
    np.testing.assert_allclose(losses(tmp_path / "run"), losses(finished.folder), rtol=1e-5)


def test_patience_ends_a_run(films: Films, tmp_path: Path) -> None:
    """With a learning rate of nearly 0, nothing gets better after the first evaluation."""
    training = {"early_stopping_patience": 1, "learning_rate": 1e-12, "min_learning_rate": 0}
    result = films.run(tmp_path / "run", training={**training, "max_steps": 20})
    assert (result.status, result.reason) == ("finished", "patience") and result.step < 20
    assert (result.folder / "best" / "model.safetensors").is_file()


def test_a_diverged_run_is_an_error(films: Films, tmp_path: Path) -> None:
    training = {"learning_rate": 1e30, "max_steps": 4}
    with pytest.raises(TrainingError, match=r"lower `training\.learning_rate`"):
        films.run(tmp_path / "run", training=training)


def test_bf16_clipping_and_recomputation(films: Films, tmp_path: Path) -> None:
    training = {"precision": "bf16", "max_grad_norm": 0.1, "decay_biases": True}
    result = films.run(tmp_path / "run", training=training, model={"gradient_checkpointing": True})
    assert math.isfinite(result.scores["masked_loss"])
    # Weights stay float32, for whoever loads them.
    assert {
        value.dtype for value in load_file(result.folder / "best/model.safetensors").values()
    } == {torch.float32}
    with pytest.raises(ResourceError, match="fp16"):
        films.run(tmp_path / "half", training={"precision": "fp16"})


def test_a_run_starts_from_another_ones_encoder(
    films: Films, finished: RunResult, tmp_path: Path
) -> None:
    weights = shutil.copy(finished.folder / "best/model.safetensors", tmp_path / "w.safetensors")
    decoder = str(finished.folder / "best/objective.safetensors")
    recipe = films.recipe(
        model={"scratch": None, "init_from": str(weights)}, objective={"init_from": decoder}
    ).resolve_paths(tmp_path)
    assert recipe.objective.sha256 is not None
    training = {"learning_rate": 1e-12, "min_learning_rate": 0.0, "max_steps": 1}
    changes = {
        **{"model": recipe.model.model_dump(), "objective": recipe.objective.model_dump()},
        "training": training,
    }
    result = films.run(tmp_path / "run", **changes)
    assert result.scores == pytest.approx(finished.scores, rel=1e-4)
    for part in ("model", "objective"):
        ours, theirs = (
            load_file(run / f"best/{part}.safetensors") for run in (result.folder, finished.folder)
        )
        assert list(ours) == list(theirs)
        for name, value in ours.items():
            torch.testing.assert_close(value, theirs[name], atol=1e-6, rtol=0)
    with pytest.raises(CheckpointError, match=r"decoder_blocks\.1"):
        films.run(
            tmp_path / "deep", **changes | {"objective": {"init_from": decoder, "decoder_depth": 2}}
        )
    # The weights are part of the run: changed ones are refused, missing ones too.
    torch.manual_seed(0)
    content = Path(weights).read_bytes()
    Path(weights).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="have changed"):
        films.run(tmp_path / "other", **changes)
    Path(weights).unlink()
    with pytest.raises(CheckpointError, match="no such file"):
        films.run(tmp_path / "third", **changes)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"batch": {"num_frames": 16}}, "`batch.num_frames` is 16"),
        ({"model": {"scratch": {"size": 96, "max_frames": 8}}}, "`features.size` is 64"),
        ({"batch": {"min_clip_frames": 1000}}, "no clip of at least 1000 frames"),
    ],
)
def test_what_does_not_fit(
    films: Films, tmp_path: Path, changes: dict[str, Any], text: str
) -> None:
    with pytest.raises(InputError, match=text):
        films.run(tmp_path / "run", **changes)


def test_short_clips_are_counted(films: Films, tmp_path: Path) -> None:
    result = films.run(tmp_path / "run", batch={"min_clip_frames": 20}, training={"max_steps": 1})
    lengths = [record.lengths["video"] for record in films.store.get_records("train")]
    assert result.limited == {"too_short": sum(length < 20 for length in lengths)} != {}


@pytest.mark.parametrize("keep", ["last", "best", "all"])
def test_policies_of_checkpoints(
    films: Films, finished: RunResult, tmp_path: Path, keep: str
) -> None:
    """Stopped after step 4, resumed, and in the end the step that the policy keeps."""
    changes = {"checkpoints": {"keep": keep}}
    films.run(tmp_path / "run", lambda measured: measured["step"] != 4, **changes)
    kept = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert len(kept) == (2 if keep == "all" else 1)
    result = films.run(tmp_path / "run", **changes)
    assert json.loads((result.folder / "best" / "pretraining.json").read_text())["step"] == (
        6 if keep == "last" else finished.best_step
    )
    if keep == "all":
        assert_same_run(result.folder, finished.folder)
    with pytest.raises(ResourceError, match=r"`checkpoints\.max_disk` allows 1 KB"):
        films.run(tmp_path / "full", checkpoints={"max_disk": "1 KB"})
