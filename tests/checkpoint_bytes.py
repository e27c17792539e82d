"""Comparison of the files of checkpoints with those that Hugging Face's own methods write."""

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file
from transformers import Seq2SeqTrainer

from kinesweep.checkpoints import background_writer, checkpoints
from kinesweep.config.recipe import Recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.store import Store
from kinesweep.training.loop.run import RunSpec, train_run
from kinesweep.training.loop.trainer import TranslatorTrainer

Patch = pytest.MonkeyPatch


def compare_with_hugging_face(
    monkeypatch: Patch, recipe: Recipe, store: Store, folder: Path
) -> set[str]:
    """Trains; all checkpoints have the bytes that Hugging Face writes. Returns their files."""
    save, publish, expected = TranslatorTrainer._save_checkpoint, checkpoints.publish_checkpoint, {}

    def save_both(self: TranslatorTrainer, *arguments: Any) -> None:
        step = self.state.global_step
        target = expected[step] = folder / f"expected-{step}"
        target.mkdir()
        self.model.save_pretrained(target)
        objective = self.model._modules.get("objective")
        if objective is not None:
            save_file(dict(objective.state_dict()), target / "objective.safetensors")
        self.state.save_to_json(str(target / "trainer_state.json"))
        Seq2SeqTrainer._save_optimizer_and_scheduler(self, str(target))
        Seq2SeqTrainer._save_rng_state(self, str(target))
        save(self, *arguments)

    names: set[str] = set()

    def publish_compared(staging_dir: Path, step: int, progress: Any) -> Any:
        written = {path.name: path.read_bytes() for path in staging_dir.iterdir()}
        names.update(written)
        assert written.keys() == {path.name for path in expected[step].iterdir()}
        for path in expected[step].iterdir():
            assert written[path.name] == path.read_bytes(), path.name
        return publish(staging_dir, step, progress)

    monkeypatch.setattr(TranslatorTrainer, "_save_checkpoint", save_both)
    monkeypatch.setattr(background_writer, "publish_checkpoint", publish_compared)
    train_run(RunSpec(recipe, store.folder, folder / "run"), NullRunLogger(), lambda _: True)
    assert len(expected) == recipe.training.max_steps // recipe.training.eval_steps
    return names
