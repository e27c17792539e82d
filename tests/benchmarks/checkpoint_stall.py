"""Seconds that a checkpoint blocks training: a model and AdamW's moments of some 600 MB.

Trains a translator on a tiny corpus and measures, on the training thread, each checkpoint and each
wait for the one before. The stages are measured wherever they run. Prints one line of JSON.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from corpus import tiny_corpus, tiny_recipe, tiny_store
from kinesweep.checkpoints import background_writer, checkpoint_content, checkpoints
from kinesweep.config.recipe import Recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.training.loop.run import RunSpec, train_run
from kinesweep.training.loop.trainer import TranslatorTrainer

LARGE: dict[str, Any] = {
    "d_model": 768,
    "encoder_layers": 3,
    "decoder_layers": 3,
    "encoder_ffn_dim": 3072,
    "decoder_ffn_dim": 3072,
}
"""49.8 million weights: 200 MB, and 400 MB of moments."""


class Stopwatch:
    """Seconds by name.

    `blocked` holds those of the training thread, one entry a checkpoint, and `end_s` the wait for
    the last checkpoint, after the last step.
    """

    def __init__(self) -> None:
        self.stages: dict[str, list[float]] = defaultdict(list)
        self.blocked: list[float] = []
        self.end_s = 0.0
        self.checkpoint_bytes = 0
        self.step_s: dict[bool, list[float]] = defaultdict(list)
        self._depth = threading.local()

    def time_stage(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function; calls inside of another timed one count for that."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            if getattr(self._depth, "inside", False):
                return function(*args, **kwargs)
            self._depth.inside, start = True, time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self._depth.inside = False
                self.stages[stage].append(time.perf_counter() - start)

        return timed

    def time_checkpoint(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap the method that makes a checkpoint."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            result = function(*args, **kwargs)
            self.blocked.append(time.perf_counter() - start)
            return result

        return timed

    def time_wait(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap the method that waits for a checkpoint."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            result = function(*args, **kwargs)
            self.end_s += time.perf_counter() - start
            return result

        return timed

    def measure_size(self, publish: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap the function that publishes a checkpoint, to sum the sizes of its files."""

        def measured(staging_dir: Path, *args: Any) -> Any:
            self.checkpoint_bytes = sum(path.stat().st_size for path in staging_dir.iterdir())
            return publish(staging_dir, *args)

        return measured

    def time_step(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a training step; steps beside a running writer are kept apart."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            if self.blocked:
                # A wait that a step follows blocked training.
                self.blocked[-1] += self.end_s
                self.end_s = 0.0
            start = time.perf_counter()
            result = function(*args, **kwargs)
            writes = any(
                thread.name == background_writer.WRITER_THREAD_NAME
                for thread in threading.enumerate()
            )
            self.step_s[writes].append(time.perf_counter() - start)
            return result

        return timed


@contextmanager
def measured() -> Iterator[Stopwatch]:
    """Patch everything that is measured while the context is active."""
    watch, trainer = Stopwatch(), TranslatorTrainer
    stages = [
        ("copy", checkpoint_content.HostBuffers, "copy"),
        ("serialize weights", checkpoint_content, "save_file"),
        ("serialize optimizer", torch, "save"),
        ("fsync", checkpoints, "fsync_tree"),
        ("hash", checkpoints, "compute_file_hashes"),
        ("remove", checkpoints, "remove_folder"),
    ]
    with ExitStack() as stack:
        for stage, module, name in stages:
            timed = watch.time_stage(stage, getattr(module, name))
            stack.enter_context(patch.object(module, name, timed))
        replacements: list[tuple[Any, str, Callable[..., Any]]] = [
            (trainer, "_save_checkpoint", watch.time_checkpoint),
            (trainer, "_join_checkpoint", watch.time_wait),
            (trainer, "training_step", watch.time_step),
            (background_writer, "publish_checkpoint", watch.measure_size),
        ]
        for owner, name, wrap in replacements:
            stack.enter_context(patch.object(owner, name, wrap(getattr(owner, name))))
        yield watch


def measure(recipe: Recipe, folder: Path, store: Path) -> dict[str, Any]:
    """Train, and return what each checkpoint cost."""
    with measured() as watch:
        train_run(RunSpec(recipe, store, folder, full_decoding=False), NullRunLogger(), _go_on)
    return {
        "blocked_s": round(statistics.median(watch.blocked), 3),
        "blocked_each_s": [round(seconds, 3) for seconds in watch.blocked],
        "end_s": round(watch.end_s, 3),
        "checkpoint_bytes": watch.checkpoint_bytes,
        "stages_s": {
            stage: round(sum(seconds) / len(watch.blocked), 3)
            for stage, seconds in watch.stages.items()
        },
        "step_s": {
            "while writing" if writes else "otherwise": round(statistics.median(seconds), 3)
            for writes, seconds in watch.step_s.items()
        },
    }


def make_recipe(root: Path, num_checkpoints: int, steps: int, **backbone: Any) -> Recipe:
    """A recipe of the large model; the sizes of `backbone` replace those of `LARGE`."""
    corpus = tiny_corpus(root / "corpus")
    recipe = tiny_recipe(
        corpus,
        root / "stores",
        training={"max_steps": num_checkpoints * steps, "eval_steps": steps},
        evaluation={"during_training": {"max_clips": 2}},
        generation={"num_beams": 1, "max_new_tokens": 2},
        resources={"cpus": 2},
    )
    values = recipe.model_dump(mode="json")
    values["model"]["backbone"]["scratch"] |= LARGE | backbone
    return Recipe.model_validate(values)


def _go_on(_: dict[str, float]) -> bool:
    """Continue training."""
    return True


def main() -> None:
    """Prints one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoints", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="steps between two checkpoints")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recipe = make_recipe(Path(folder), given.checkpoints, given.steps)
        store = tiny_store(recipe)
        print(json.dumps(measure(recipe, Path(folder) / "run", store.folder)))


if __name__ == "__main__":
    main()
