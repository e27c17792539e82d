"""A whole training loop, steps and loader, reads nothing back from the device."""

from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerCallback

from corpus import tiny_recipe
from host_syncs import record_syncs
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.store import Store
from kinesweep.training.loop import components
from kinesweep.training.loop.run import RunSpec, train_run
from kinesweep.training.loop.trainer import TranslatorTrainer

pytestmark = pytest.mark.integration

FIRST, LAST = 3, 8


class Recording(TrainerCallback):
    """Records from the end of one step to the end of another, without a log or an evaluation."""

    def __init__(self) -> None:
        self.found: list[str] | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == FIRST:
            self.recorder = record_syncs()
            self.found = self.recorder.__enter__()
        if state.global_step == LAST:
            self.recorder.__exit__(None, None, None)


def test_nothing_is_read_between_records(
    corpus: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(
        corpus,
        store.folder.parent,
        training={
            **{"max_steps": 10, "eval_steps": 10, "logging_steps": 10},
            "gradient_accumulation_steps": 2,
        },
    )
    recording = Recording()

    class Recorded(TranslatorTrainer):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.add_callback(recording)

    monkeypatch.setattr(components, "TranslatorTrainer", Recorded)
    spec = RunSpec(recipe, store.folder, tmp_path / "run")
    train_run(spec, NullRunLogger(), lambda _: True)
    assert recording.found == []
