"""The objective `clip`: both losses, their weights, one file of weights, retrieval scores."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from kinesweep.config.loading import validate_config
from kinesweep.config.pretraining.clip import ClipConfig
from kinesweep.config.pretraining.objectives import PretrainedModelConfig
from kinesweep.core.errors import CheckpointError, ConfigError
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.core.windows.window_batch import WindowBatch
from kinesweep.models.losses.text_video_contrastive import compute_text_video_share
from kinesweep.models.pretraining.factory import build_objective
from kinesweep.models.pretraining.language_supervision import CaptionInput, LanguageSupervision
from kinesweep.models.pretraining.masked_autoencoder import MaskedAutoencoder

_HIERA = {"max_frames": 8, "size": 64, "first_stage_width": 4, "stage_depths": [1, 1, 2, 1]}
_DECODER = {"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2, "mask_ratio": 0.5}
_BERT = {
    **{"architecture": "bert", "hidden_size": 16, "num_hidden_layers": 1},
    **{"num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 16},
}


def encode(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Letters as tokens."""
    rows = [[1, *(3 + ord(c) % 27 for c in text), 2] for text in texts]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    return ids, torch.arange(longest) < torch.tensor([[len(row)] for row in rows])


def config_of(**changes: Any) -> ClipConfig:
    text = {"scratch": _BERT, "tokenizer": {"kind": "train", "size": 32}, "max_tokens": 16}
    plain = {"kind": "clip", "mae": _DECODER, "text": text, "width": 8, "mask_ratio": 0.5}
    return validate_config(ClipConfig, {**plain, **changes}, "the test")


def objective_of(drop_path: float = 0.0, **changes: Any) -> LanguageSupervision:
    torch.manual_seed(0)
    model = PretrainedModelConfig(scratch=_HIERA, drop_path=drop_path)
    captions = CaptionInput(encode, Vocabulary(size=30, pad_id=0, bos_id=1, eos_id=2))
    objective = build_objective(config_of(**changes), model, captions, max_steps=10)
    assert isinstance(objective, LanguageSupervision)
    return objective


def batch_of(texts: Sequence[Sequence[str]], ids: Sequence[str] | None = None) -> WindowBatch:
    torch.manual_seed(1)
    count = len(texts)
    pixels = torch.randint(256, (count, 8, 64, 64, 3), dtype=torch.uint8)
    seeds, names = tuple(range(10, 10 + count)), tuple(ids or map(str, range(count)))
    return WindowBatch(pixels, (8,) * count, seeds, names, tuple(map(tuple, texts)))


_TEXTS = [["ab"], ["cd", "ce"], ["ef"]]


def test_both_losses_come_from_one_pass_and_their_sum_is_weighted() -> None:
    objective = objective_of(gradnorm=None, mae_weight=0.25).eval()
    batch = batch_of(_TEXTS)
    calls = []
    objective.encoder.patch_embed["proj"].register_forward_hook(lambda *_: calls.append(1))
    share = objective(batch, 3)
    assert len(calls) == 1  # the mask ratios are equal
    parts = {name: float(value) for name, value in share.parts.items()}
    assert float(share.loss.detach()) == pytest.approx(
        parts["train_contrastive_loss"] + 0.25 * parts["train_masked_loss"]
    )
    assert objective.decoder is not None and objective.config.mae is not None
    alone = MaskedAutoencoder(objective.encoder, objective.config.mae, objective.model_config)
    alone.decoder = objective.decoder
    alone = alone.eval()(batch, 3)
    assert parts["train_masked_loss"] == pytest.approx(float(alone.loss.detach()), abs=1e-6)
    share.loss.backward()
    unused = [name for name, p in objective.named_parameters() if p.grad is None]
    assert unused == []


def test_another_mask_ratio_takes_another_pass() -> None:
    objective = objective_of(mask_ratio=0.0).eval()
    calls = []
    objective.encoder.patch_embed["proj"].register_forward_hook(lambda *_: calls.append(1))
    objective(batch_of(_TEXTS), 3)
    assert len(calls) == 2


def test_without_mae_only_the_contrastive_loss_is_left() -> None:
    objective = objective_of(mae=None)
    share = objective(batch_of(_TEXTS), 3)
    assert objective.gradnorm is None and objective.decoder is None
    assert torch.equal(share.loss, share.parts["train_contrastive_loss"])
    assert "train_masked_loss" not in share.parts
    scores = objective.compute_scores(objective.compute_values(batch_of(_TEXTS)), ["a", "b", "c"])
    assert "masked_loss" not in scores


@pytest.mark.parametrize("shared", ["last_layer", "encoder"])
def test_gradnorm_learns_in_training_only(shared: str) -> None:
    objective = objective_of(gradnorm={"shared": shared, "learning_rate": 0.1})
    assert objective.gradnorm is not None
    weights = objective.gradnorm.weights
    with torch.no_grad():
        objective.train()(batch_of(_TEXTS), 3)
    objective.eval()(batch_of(_TEXTS), 3)
    assert weights.tolist() == [1, 1]
    share = objective.train()(batch_of(_TEXTS), 3)
    assert weights.tolist() != [1, 1] and float(weights.sum()) == pytest.approx(2)
    share.loss.backward()  # the graph keeps the weights from before
    parts = {name: float(value) for name, value in share.parts.items()}
    assert share.loss.item() == pytest.approx(
        parts["train_contrastive_loss"] + parts["train_masked_loss"]
    )


def test_texts_are_chosen_by_the_seed_of_the_window() -> None:
    objective = objective_of(mae=None).eval()
    losses = {}
    for chosen in ("cd", "ce"):
        batch = batch_of([["ab"], [chosen], ["ef"]])
        losses[chosen] = float(objective(batch, 3).loss.detach())
    drawn = {float(objective(batch_of(_TEXTS), 3).loss.detach())}
    assert drawn < set(losses.values())


def test_dropout_depends_on_the_windows_alone() -> None:
    objective = objective_of(drop_path=0.3).train()
    torch.manual_seed(5)
    first = objective(batch_of(_TEXTS), 3).parts["train_contrastive_loss"]
    torch.manual_seed(6)
    second = objective(batch_of(_TEXTS), 3).parts["train_contrastive_loss"]
    assert torch.equal(first, second)


def test_weights_are_saved_once_and_loaded_to_the_bit(tmp_path: Path) -> None:
    first, second = objective_of(), objective_of()
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(1)
    first.train()(batch_of(_TEXTS), 3)  # GradNorm has a state
    save_file(first.state_dict(), tmp_path / "weights")  # shared tensors would be refused
    second.load_state_dict(load_file(tmp_path / "weights"))
    mine, theirs = first.state_dict(), second.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    others = first.get_other_weights()
    assert not any("encoder.blocks" in name for name in others)
    assert {"gradnorm.weights", "temperature.log_scale", "projection.0.weight"} <= set(others)


def test_the_decoder_starts_from_a_run_of_masked_autoencoding(tmp_path: Path) -> None:
    whole = objective_of()
    assert whole.decoder is not None
    with torch.no_grad():
        for parameter in whole.decoder.parameters():
            parameter.add_(1)
    path = tmp_path / "objective.safetensors"
    save_file(whole.decoder.state_dict(), path)
    started = objective_of(mae={**_DECODER, "init_from": str(path)})
    assert started.decoder is not None
    assert torch.equal(started.decoder.mask_token, whole.decoder.mask_token)
    with pytest.raises(CheckpointError, match=r"`objective\.mae\.init_from`.*have changed"):
        objective_of(mae={**_DECODER, "init_from": str(path), "sha256": "0" * 64})


def test_windows_of_a_clip_are_one_candidate_and_equal_texts_one_text() -> None:
    objective = objective_of().eval()
    ids = ["a", "a", "b", "c"]
    texts = [["x"], ["x"], ["y"], ["x"]]
    values = objective.compute_values(batch_of(texts, ids))
    video = torch.eye(8)[[0, 0, 1, 0]]
    values = {**values, "video": video, "text": torch.eye(8)[[0, 0, 1, 0]]}
    scores = objective.compute_scores(values, ids)
    assert scores["recall_1"] == 100 and scores["median_rank"] == 1
    scale = objective.temperature().detach()
    three, numbers = torch.eye(8)[[0, 1, 0]], torch.tensor([0, 1, 0])
    expected = compute_text_video_share(three, three, numbers[:, None], scale)
    assert scores["contrastive_loss"] == pytest.approx(float(expected))
    sums = objective.compute_clip_sums(values, ids)
    assert sums["recall_1"] == {"a": (100, 1), "b": (100, 1), "c": (100, 1)}
    assert sums["masked_loss"]["a"][1] == 2


def test_values_of_validation_are_of_whole_windows() -> None:
    objective = objective_of().eval()
    batch = batch_of(_TEXTS)
    values = objective.compute_values(batch)
    with torch.no_grad():
        pixels = (batch.pixels_BFHWC.permute(0, 4, 1, 2, 3).float() / 255 - 0.45) / 0.225
        mean = objective.encoder(pixels).mean(dim=1)
        expected = torch.nn.functional.normalize(objective.projection(mean), dim=1)
    torch.testing.assert_close(values["video"], expected)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"mae": None, "metric": "masked_loss"}, "`metric: masked_loss` needs the second loss"),
        ({"mae": None, "gradnorm": {}}, "`gradnorm` needs the second loss"),
        ({"mae_weight": 0.5}, "`gradnorm` learns it"),
    ],
)
def test_settings_of_a_loss_that_is_not_there(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        config_of(**changes)


def test_the_section_survives_its_own_values() -> None:
    for changes in ({}, {"mae": None}, {"gradnorm": None, "mae_weight": 2.0}):
        config = config_of(**changes)
        assert ClipConfig.model_validate(config.model_dump(mode="json")) == config
