"""The writer of checkpoints alone: copies, their buffers, one checkpoint in flight, errors."""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from kinesweep.checkpoints import checkpoint_content
from kinesweep.checkpoints.background_writer import CheckpointWriter
from kinesweep.checkpoints.checkpoint_content import CheckpointContent, HostBuffers
from kinesweep.checkpoints.checkpoints import should_write_checkpoint, verify_checkpoint
from kinesweep.checkpoints.progress import TrainingProgress


def content_of(weights: torch.Tensor, **states: Any) -> CheckpointContent:
    return CheckpointContent({"model.safetensors": {"w": weights}}, {}, {"state.pt": states}, {})


def test_a_copy_is_not_changed_by_training() -> None:
    weights, moment = torch.arange(6.0).reshape(2, 3).T, torch.ones(4)
    betas, rates = (0.9, 0.99), [1.0]
    content = content_of(weights, state={0: {"m": moment}}, groups=[betas, betas], rates=rates)
    copied = HostBuffers().copy(content)
    assert copied is not None
    expected = weights.clone()
    weights.zero_(), moment.zero_(), rates.append(2.0)
    state = copied.states["state.pt"]
    assert torch.equal(copied.weights["model.safetensors"]["w"], expected)
    assert copied.weights["model.safetensors"]["w"].stride() == expected.stride()
    assert torch.equal(state["state"][0]["m"], torch.ones(4)) and state["rates"] == [1.0]
    # What was shared is shared: pickle writes it once.
    assert state["groups"][0] is state["groups"][1]


def test_buffers_are_used_again() -> None:
    buffers, weights = HostBuffers(), torch.zeros(1000)
    first = buffers.copy(content_of(weights, m=torch.zeros(5)))
    assert first is not None
    address = first.weights["model.safetensors"]["w"].data_ptr()
    weights.add_(1)
    second = buffers.copy(content_of(weights, m=torch.zeros(7)))
    assert second is not None
    assert second.weights["model.safetensors"]["w"].data_ptr() == address
    assert second.weights["model.safetensors"]["w"].sum() == 1000
    assert second.states["state.pt"]["m"].shape == (7,)


def test_memory_is_asked_for_new_buffers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    buffers, content = HostBuffers(), content_of(torch.zeros(1000))
    monkeypatch.setattr(checkpoint_content, "get_available_memory_bytes", lambda: 7999)
    assert buffers.copy(content) is None
    monkeypatch.setattr(checkpoint_content, "get_available_memory_bytes", lambda: 8000)
    assert buffers.copy(content) is not None
    monkeypatch.setattr(checkpoint_content, "get_available_memory_bytes", lambda: 0)
    assert buffers.copy(content) is not None


def test_the_next_checkpoint_waits_for_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_write, order = threading.Event(), []
    write = CheckpointContent.write

    def write_later(self: CheckpointContent, folder: Path) -> None:
        assert may_write.wait(30)
        write(self, folder)
        order.append(folder.name)

    monkeypatch.setattr(CheckpointContent, "write", write_later)
    weights = torch.zeros(3)
    with CheckpointWriter(tmp_path, "all") as writer:
        writer.write(content_of(weights), 1, TrainingProgress())
        weights.fill_(1)
        # Training goes on; only the next checkpoint waits.
        threading.Timer(0.2, lambda: (order.append("released"), may_write.set())).start()
        writer.write(content_of(weights), 2, TrainingProgress())
        assert order[:2] == ["released", ".saving-00000001"]
    for step in (1, 2):
        checkpoint = verify_checkpoint(tmp_path / f"step-{step:08d}")
        assert checkpoint is not None and checkpoint.step == step
    values = [(tmp_path / f"step-0000000{step}/model.safetensors").read_bytes() for step in (1, 2)]
    assert values[0] != values[1]


def test_an_error_of_training_comes_first_and_names_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(CheckpointContent, "write", fail)
    with (
        pytest.raises(ValueError, match="diverged") as raised,
        CheckpointWriter(tmp_path, "all") as writer,
    ):
        writer.write(content_of(torch.zeros(1)), 1, TrainingProgress())
        raise ValueError("diverged")
    assert raised.value.__notes__ == ["The last checkpoint was not written: disk full"]


@pytest.mark.parametrize(
    ("keep", "is_best", "is_due", "writes"),
    [
        *(("best", True, False, True), ("best", False, True, False)),
        *(("last", True, False, False), ("last", False, True, True)),
        *(("best+last", True, False, True), ("best+last", False, True, True)),
        *(("all", True, False, True), ("all", False, False, False)),
    ],
)
def test_which_steps_have_a_checkpoint(
    keep: str, is_best: bool, is_due: bool, writes: bool
) -> None:
    assert should_write_checkpoint(keep, is_best, is_due) == writes
