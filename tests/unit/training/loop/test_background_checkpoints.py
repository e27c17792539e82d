"""Checkpoints are written beside training: same bytes, nothing lost, at the most a copy waited for.

The long form with 600 MB is at the end; `tests/benchmarks/checkpoint_stall.py` prints its stages.
"""

import errno
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from benchmarks.checkpoint_stall import make_recipe, measure
from checkpoint_bytes import compare_with_hugging_face
from corpus import tiny_recipe, tiny_store
from fresh_process import FreshProcess
from kinesweep.checkpoints import background_writer, checkpoint_content, checkpoints
from kinesweep.checkpoints.background_writer import WRITER_THREAD_NAME
from kinesweep.checkpoints.checkpoint_content import CheckpointContent
from kinesweep.checkpoints.checkpoints import recover_newest_checkpoint
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import ConfigError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.store import Store
from kinesweep.training.loop.run import RunSpec, train_run
from kinesweep.training.loop.trainer import TranslatorTrainer
from kinesweep.training.run_records.result import RunResult
from ranks import run_ranks

pytestmark = pytest.mark.integration
Patch = pytest.MonkeyPatch
TRAIN = """
import os, signal, sys, time
from pathlib import Path
from kinesweep.checkpoints import background_writer, checkpoint_content, checkpoints
from kinesweep.config.recipe import Recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.training.loop.run import RunSpec, train_run

asked, store, folder, stage = sys.argv[1:]
steps_done = 0
def count_step():
    global steps_done
    steps_done += 1
    return False

def kill_in(owner, name, hits=lambda *_: True, first=False):
    function = getattr(owner, name)
    def replacement(*arguments, **options):
        if not first:
            function(*arguments, **options)
        # Of the second checkpoint, while training is ahead of it.
        if (Path(folder) / "checkpoints/step-00000004").exists() and hits(*arguments):
            while steps_done < 10:
                time.sleep(0.001)
            os.kill(os.getpid(), signal.SIGKILL)
        if first:
            return function(*arguments, **options)
    setattr(owner, name, replacement)

is_step_4 = lambda path: path.name == "step-00000004"
{
    "snapshot": lambda: kill_in(background_writer, "create_checkpoint_folder", first=True),
    "weights": lambda: kill_in(checkpoint_content, "save_file"),
    "states": lambda: kill_in(checkpoint_content.CheckpointContent, "write"),
    "manifest": lambda: kill_in(
        checkpoints, "write_json", lambda path, _: path.name == "manifest.json", first=True
    ),
    "rename": lambda: kill_in(checkpoints, "remove_folder", lambda p: p.name == "step-00000008"),
    "prune": lambda: kill_in(checkpoints, "remove_folder", is_step_4, first=True),
}[stage]()
recipe = Recipe.model_validate_json(Path(asked).read_text())
spec = RunSpec(recipe, Path(store), Path(folder))
train_run(spec, NullRunLogger(), lambda _: True, count_step)
"""


def train(recipe: Recipe, store: Store, folder: Path, report=lambda _: True, *stop: Any):  # type: ignore[no-untyped-def]
    return train_run(RunSpec(recipe, store.folder, folder), NullRunLogger(), report, *stop)


def assert_same_run(run: RunResult, whole: RunResult) -> None:
    assert run.weights_sha256 == whole.weights_sha256 != ""
    metrics = [(result.folder / "metrics.jsonl").read_bytes() for result in (run, whole)]
    assert metrics[0] == metrics[1]


@pytest.mark.parametrize(
    ("stage", "step"),
    [
        *(("snapshot", 4), ("weights", 4), ("states", 4), ("manifest", 4), ("rename", 4)),
        ("prune", 8),
    ],
)
def test_killed_in_the_writer_the_checkpoint_before_is_used(
    recipe: Recipe, store: Store, tmp_path: Path, whole: RunResult, stage: str, step: int
) -> None:
    asked, run = tmp_path / "recipe.json", tmp_path / "run"
    if stage == "prune":
        # By default, the checkpoint of step 4 could be the best one, which is not removed.
        recipe = recipe.model_validate({**recipe.model_dump(), "checkpoints": {"keep": "last"}})
    asked.write_text(recipe.model_dump_json())
    process = FreshProcess(TRAIN, [str(asked), str(store.folder), str(run), stage])
    assert process.wait(120).returncode == -signal.SIGKILL
    copied = recover_newest_checkpoint(run / "checkpoints", needs_best=False)
    assert copied is not None and copied.step == step
    assert not list((run / "checkpoints").glob(".saving*"))
    ended = train(recipe, store, run)
    assert (ended.folder / "metrics.jsonl").read_bytes() == (
        whole.folder / "metrics.jsonl"
    ).read_bytes()
    # With `keep: last`, the result is another step's, but of the same run.
    assert_same_run(ended, train(recipe, store, tmp_path / "w") if stage == "prune" else whole)


def test_all_bytes_are_those_of_hugging_face(
    recipe: Recipe, store: Store, tmp_path: Path, monkeypatch: Patch
) -> None:
    compare_with_hugging_face(monkeypatch, recipe, store, tmp_path)


def test_all_bytes_with_an_objective(
    corpus: Path, store: Store, tmp_path: Path, monkeypatch: Patch
) -> None:
    training = {"stage": "align", "metric_for_best_model": "contrastive_loss", "max_steps": 4}
    recipe = tiny_recipe(corpus, store.folder.parent, training=training)
    files = compare_with_hugging_face(monkeypatch, recipe, store, tmp_path)
    assert "objective.safetensors" in files


def test_the_training_thread_writes_nothing(
    recipe: Recipe, store: Store, tmp_path: Path, monkeypatch: Patch, whole: RunResult
) -> None:
    events: list[tuple[str, bool]] = []
    is_active, is_saving = [True], threading.local()

    def note(name: str) -> None:
        thread = threading.current_thread().name
        events.append((name, thread == WRITER_THREAD_NAME))
        assert not getattr(is_saving, "value", False), f"{name} in `_save_checkpoint`"

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if is_active[0] and event in ("open", "os.rename", "os.mkdir", "shutil.rmtree"):
            is_write = event != "open" or arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if is_write and str(tmp_path) in str(arguments[0]):
                note(event)

    save, fsync = TranslatorTrainer._save_checkpoint, os.fsync

    def save_noted(self: TranslatorTrainer, *arguments: Any) -> None:
        is_saving.value = True
        save(self, *arguments)
        is_saving.value = False

    def fsync_noted(descriptor: int) -> None:
        note("fsync")
        fsync(descriptor)

    monkeypatch.setattr(TranslatorTrainer, "_save_checkpoint", save_noted)
    monkeypatch.setattr(os, "fsync", fsync_noted)
    sys.addaudithook(hook)
    try:
        assert_same_run(train(recipe, store, tmp_path / "run"), whole)
    finally:
        is_active[0] = False
    in_writer = {name for name, is_writer in events if is_writer}
    assert in_writer >= {"open", "os.rename", "os.mkdir", "fsync"}


def test_a_full_disk_ends_the_run_at_the_next_step(
    recipe: Recipe, store: Store, tmp_path: Path, monkeypatch: Patch, whole: RunResult
) -> None:
    write, save = CheckpointContent.write, TranslatorTrainer._save_checkpoint
    asked: list[int] = []

    def fail_at_8(self: CheckpointContent, folder: Path) -> None:
        if folder.name.endswith("8"):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, folder)

    def save_and_wait(self: TranslatorTrainer, *arguments: Any) -> None:
        save(self, *arguments)
        # Without `join`, which would raise the error.
        self._writer._thread.join()  # type: ignore[union-attr]

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left on device"):
        patch.setattr(CheckpointContent, "write", fail_at_8)
        patch.setattr(TranslatorTrainer, "_save_checkpoint", save_and_wait)
        train(recipe, store, tmp_path / "run", lambda _: True, lambda: bool(asked.append(1)))
    assert len(asked) == 8, "the ninth step raises the error of the checkpoint of the eighth"
    assert_same_run(train(recipe, store, tmp_path / "run"), whole)


def test_the_error_of_the_last_checkpoint_is_raised_too(
    recipe: Recipe, store: Store, tmp_path: Path, monkeypatch: Patch, whole: RunResult
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(background_writer, "publish_checkpoint", fail)
        train(recipe, store, tmp_path / "run", lambda _: False)
    assert not list((tmp_path / "run/checkpoints").glob("step-*"))
    assert_same_run(train(recipe, store, tmp_path / "run"), whole)


FAILING_RANKS = """
from kinesweep.checkpoints.checkpoint_content import CheckpointContent
from kinesweep.config.recipe import Recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.training.loop.run import RunSpec, train_run
def fail(self, folder):
    raise OSError(28, "No space left on device")
CheckpointContent.write = fail
asked, store, folder = sys.argv[1:]
recipe = Recipe.model_validate_json(Path(asked).read_text())
reported = []
def report(metrics):
    reported.append(metrics["step"])
    return True
try:
    train_run(RunSpec(recipe, Path(store), Path(folder)), NullRunLogger(), report)
except OSError as error:
    print(json.dumps([error.errno, reported]))
"""


def test_all_ranks_end_with_the_error(recipe: Recipe, store: Store, tmp_path: Path) -> None:
    """Otherwise the others would wait for rank 0 forever."""
    asked = tmp_path / "recipe.json"
    asked.write_text(recipe.model_dump_json())
    arguments = [str(asked), str(store.folder), str(tmp_path / "run")]
    ended: Any = run_ranks(FAILING_RANKS, arguments, 2)
    assert ended == [[errno.ENOSPC, [4]]] * 2


def test_without_memory_for_a_copy_training_waits(
    recipe: Recipe,
    store: Store,
    tmp_path: Path,
    monkeypatch: Patch,
    whole: RunResult,
    caplog: pytest.LogCaptureFixture,
) -> None:
    threads: list[str] = []
    write = CheckpointContent.write

    def write_noted(self: CheckpointContent, folder: Path) -> None:
        threads.append(threading.current_thread().name)
        write(self, folder)

    monkeypatch.setattr(CheckpointContent, "write", write_noted)
    monkeypatch.setattr(checkpoint_content, "get_available_memory_bytes", lambda: 1000)
    with caplog.at_level(logging.WARNING):
        assert_same_run(train(recipe, store, tmp_path / "run"), whole)
    assert threads == [threading.current_thread().name] * 3
    assert sum("memory for a copy of the checkpoint" in line for line in caplog.messages) == 1


@pytest.mark.parametrize("keep", ["all", "last"])
def test_checkpoints_may_be_rarer_than_evaluations(
    corpus: Path, store: Store, tmp_path: Path, keep: str
) -> None:
    def run(name: str, **changes: Any) -> tuple[RunResult, list[int]]:
        published: list[int] = []
        with Patch.context() as patch:
            publish = checkpoints.publish_checkpoint
            patch.setattr(
                background_writer,
                "publish_checkpoint",
                lambda folder, step, progress: (
                    published.append(step),
                    best.add(progress.best_step),
                    publish(folder, step, progress),
                ),
            )
            recipe = tiny_recipe(
                corpus,
                store.folder.parent,
                training={"max_steps": 14, "eval_steps": 2},
                checkpoints={"keep": keep, **changes},
            )
            return train(recipe, store, tmp_path / name), published

    best: set[int] = set()
    often, each = run("often")
    assert each == [2, 4, 6, 8, 10, 12, 14]
    rare, few = run("rare", every=3)
    assert_same_run(rare, often)
    assert few == sorted({6, 12, 14} | (best if keep == "all" else set()))
    # A run that is stopped at any evaluation goes on from there.
    recipe = tiny_recipe(
        corpus,
        store.folder.parent,
        training={"max_steps": 14, "eval_steps": 2},
        checkpoints={"keep": keep, "every": 3},
    )
    stopped = train(recipe, store, tmp_path / "parts", lambda metrics: metrics["step"] < 10)
    assert stopped.status == "stopped"
    assert (tmp_path / "parts/checkpoints/step-00000010").is_dir()
    seen: list[float] = []
    ended = train(recipe, store, tmp_path / "parts", lambda m: seen.append(m["step"]) or True)
    assert seen == [12, 14]
    assert_same_run(ended, often)


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({"checkpoints": {"keep": "best", "every": 2}}, "`every` has no effect"),
        (
            {"checkpoints": {"every": 2}, "training": {"average_checkpoints": 2}},
            "`training.average_checkpoints` averages consecutive",
        ),
        ({"checkpoints": {"every": 0}}, "checkpoints.every"),
    ],
)
def test_intervals_that_would_have_no_meaning(
    corpus: Path, tmp_path: Path, sections: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        tiny_recipe(corpus, tmp_path, **sections)


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_600_mb_block_training_for_a_third_of_a_second_at_most(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path, num_checkpoints=5, steps=24)
    measured = measure(recipe, tmp_path / "run", tiny_store(recipe).folder)
    assert 590e6 < measured["checkpoint_bytes"] < 700e6
    assert measured["blocked_s"] <= 0.3
