"""A run that failed says why and leaves with an exit code that is not 0, in every command."""

import json
import runpy
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import kinesweep as ks
from corpus import tiny_corpus, tiny_recipe, tiny_store
from kinesweep.cli import main
from kinesweep.core.errors import ResourceError, TrainingError
from kinesweep.evaluation.evaluate import Evaluation, evaluate_loaded_model
from kinesweep.pipelines import dry_run, evaluation
from kinesweep.pipelines.extraction import extract_features
from kinesweep.training.loop import finalization
from kinesweep.training.loop import run as training_loop

pytestmark = pytest.mark.integration

TOO_HIGH = "training.learning_rate=1e30"
Call = Callable[..., str]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("failed")
    recipe = tiny_recipe(tiny_corpus(folder), folder / "stores")
    tiny_store(recipe)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    return folder


@pytest.fixture
def call(
    lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    """Calls a command that must fail. Returns what it says."""
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(lab)

    def call(*words: str, code: int) -> str:
        with pytest.raises(SystemExit) as left:
            main(list(words))
        said = capsys.readouterr()
        assert left.value.code == code, said.err
        assert "Traceback" not in said.err
        return " ".join(said.err.split())

    return call


def test_a_diverged_run_is_an_error_each_time(call: Call, tmp_path: Path) -> None:
    words = ("train", "recipe.yaml", "--no-ray", TOO_HIGH, "--folder", str(tmp_path / "run"))
    said = call(*words, code=1)
    assert "diverged" in said and "after 4 steps" in said
    assert "`training.learning_rate` (1e+30)" in said
    # What the run has recorded is kept, and the same call does not turn it into a success.
    assert json.loads((tmp_path / "run/result.json").read_text())["status"] == "failed"
    assert "diverged" in call(*words, code=1)
    assert "diverged" in call(*words, "--overwrite", code=1)


def test_a_repetition_of_a_diverged_run_is_not_identical(call: Call) -> None:
    said = call("repeat", "recipe.yaml", "--no-ray", TOO_HIGH, "--runs", "2", code=1)
    assert "diverged" in said and "bit-identical" not in said


def test_a_diverged_dry_run_is_an_error(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "extract_features", partial(extract_features, on_ray=False))
    assert "diverged" in call("train", "recipe.yaml", "--no-ray", TOO_HIGH, "--dry-run", code=1)


def test_the_api_raises(lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lab)
    recipe = ks.load_recipe("recipe.yaml", [TOO_HIGH])
    with pytest.raises(TrainingError, match="diverged"):
        ks.train(recipe, tmp_path / "run", on_ray=False)
    with pytest.raises(TrainingError, match="diverged"):
        ks.repeat(recipe, 2, "in_process", tmp_path / "runs")


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), MemoryError()]
)
def test_exhausted_memory_names_what_to_set(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lab: Path, error: Exception
) -> None:
    def exhaust(*_: object) -> None:
        raise error

    monkeypatch.setattr(training_loop, "_train_remaining_steps", exhaust)
    said = call("train", "recipe.yaml", "--no-ray", "--folder", str(tmp_path / "run"), code=2)
    assert "the memory is exhausted" in said and "batch.max_clip_frames" in said
    with pytest.raises(ResourceError):
        ks.train(ks.load_recipe("recipe.yaml"), tmp_path / "run", on_ray=False)


def test_final_scores_that_are_not_finite_are_a_failure(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evaluations during training may decode a part of validation only."""

    def evaluate_badly(*arguments: object) -> Evaluation:
        evaluation = evaluate_loaded_model(*arguments)  # type: ignore[arg-type]
        evaluation.scores["token_loss"] = float("inf")
        return evaluation

    words = ("--no-ray", "--folder", str(tmp_path / "run"))
    with monkeypatch.context() as patched:
        patched.setattr(finalization, "evaluate_loaded_model", evaluate_badly)
        said = call("train", "recipe.yaml", *words, code=1)
    assert "diverged: token_loss is inf" in said
    # The run is not finished: the same command finishes it.
    assert not (tmp_path / "run/result.json").exists()
    call("train", "recipe.yaml", *words, code=0)


def test_a_model_whose_scores_are_not_finite_is_not_evaluated(
    call: Call, tmp_path: Path, lab: Path
) -> None:
    run = ks.train(ks.load_recipe(lab / "recipe.yaml"), tmp_path / "run", on_ray=False).folder
    weights = load_file(run / "best/model.safetensors")
    name = max(weights)
    save_file({**weights, name: weights[name] * float("nan")}, run / "best/model.safetensors")
    said = call("evaluate", str(run), "--out", str(tmp_path / "scores"), code=1)
    assert "diverged: token_loss is nan" in said


def test_an_evaluation_without_memory_has_no_traceback(
    call: Call, tmp_path: Path, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhaust(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    run = ks.train(ks.load_recipe(lab / "recipe.yaml"), tmp_path / "run", on_ray=False).folder
    monkeypatch.setattr(evaluation, "evaluate_model", exhaust)
    assert "`evaluation.max_frames`" in call("evaluate", str(run), code=1)


def test_a_job_raises(lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception ends its process with exit code 1, so Ray marks the job as failed."""
    monkeypatch.chdir(lab)
    job = Path(__file__).resolve().parents[3] / "jobs" / "train.py"
    words = [str(job), "recipe.yaml", TOO_HIGH, "--no-ray", "--folder", str(tmp_path / "run")]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(TrainingError, match="diverged"):
        runpy.run_path(str(job), run_name="__main__")
