"""Checkpoints in the layouts of pretraining, classifiers and CLIP, and such as do not fit."""

import argparse
import os
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from kinesweep.config.recipe.video import SignHieraEncoderConfig
from kinesweep.core.errors import CheckpointError
from kinesweep.features.encoders.signhiera import HieraGeometry, SignHiera
from kinesweep.features.encoders.signhiera_encoder import SignHieraEncoder

TINY = HieraGeometry(
    max_frames=4, size=16, first_stage_width=4, stage_depths=(1, 1, 1), num_local_stages=1
)
DECODER = (
    *("decoder_embed.weight", "decoder_pos_embed", "decoder_blocks.0.attn.qkv.weight"),
    *("decoder_norm.bias", "decoder_pred.bias", "mask_token", "encoder_norm.weight"),
    "multi_scale_fusion_heads.0.weight",
)
CLASSIFIER = ("norm.weight", "norm.bias", "head.projection.weight", "head.projection.bias")
TEXT = (
    *("text.transformer.encoder.layer.0.weight", "text.proj.0.weight", "logit_scale"),
    *("visual.proj.0.weight", "visual.proj.2.weight"),
)
PIXELS = torch.arange(4 * 16 * 16 * 3, dtype=torch.uint8).view(1, 4, 16, 16, 3)


def weights() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {k: torch.randn_like(v) for k, v in SignHiera(TINY).state_dict().items()}


def more(names: tuple[str, ...], prefix: str = "") -> dict[str, Tensor]:
    return {prefix + name: torch.ones(2) for name in names}


def load(file: Path, from_clip: bool = False) -> Tensor:
    """What the encoder makes of pixels with a file's weights."""
    config = SignHieraEncoderConfig(checkpoint=str(file), from_clip=from_clip)
    return SignHieraEncoder.from_config(config, "fp32", "cpu", TINY)(PIXELS, (4,))


def saved(folder: Path, content: Any, name: str = "a.pth") -> Path:
    torch.save(content, folder / name)
    return folder / name


def expected() -> Tensor:
    model = SignHiera(TINY)
    model.load_state_dict(weights(), strict=True)
    return SignHieraEncoder(model)(PIXELS, (4,))


def refusal(file: Path, from_clip: bool = False) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(file, from_clip)
    assert str(file) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("container", ["model", "model_state", None])
@pytest.mark.parametrize("beside", [(), DECODER, CLASSIFIER])
def test_trained_ones(tmp_path: Path, container: str | None, beside: tuple[str, ...]) -> None:
    tensors = weights() | more(beside)
    content = {container: tensors, "epoch": 3} if container else tensors
    assert torch.equal(load(saved(tmp_path, content)), expected())


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "module._orig_mod."])
def test_wrapped_ones(tmp_path: Path, wrapper: str) -> None:
    tensors = {wrapper + name: tensor for name, tensor in (weights() | more(DECODER)).items()}
    assert torch.equal(load(saved(tmp_path, {"model": tensors})), expected())


def test_half_wrapped_ones_are_not_guessed_at(tmp_path: Path) -> None:
    tensors = OrderedDict(weights())
    tensors["module.pos_embed_spatial"] = tensors.pop("pos_embed_spatial") + 1
    text = refusal(saved(tmp_path, tensors))
    shown = "`module.pos_embed_spatial` is not part of the model; `pos_embed_spatial` is missing"
    assert shown in text


@pytest.mark.parametrize(
    "tower", ["visual.transformer.", "visual.", "vision_model.", "vision_tower."]
)
@pytest.mark.parametrize("container", ["clip", "model", None])
@pytest.mark.parametrize("wrapper", ["", "module."])
def test_clip(tmp_path: Path, tower: str, container: str | None, wrapper: str) -> None:
    inner = more(DECODER, tower) | more(TEXT) | {tower + k: v for k, v in weights().items()}
    tensors = {wrapper + name: tensor for name, tensor in inner.items()}
    file = saved(tmp_path, {container: tensors} if container else tensors)
    assert torch.equal(load(file, from_clip=True), expected())


def test_safetensors_and_half_precision(tmp_path: Path) -> None:
    save_file(weights(), tmp_path / "a.safetensors")
    assert torch.equal(load(tmp_path / "a.safetensors"), expected())
    half = {name: tensor.half() for name, tensor in weights().items()}
    given = load(saved(tmp_path, half))
    assert given.dtype == torch.float32
    torch.testing.assert_close(given, expected(), atol=0.1, rtol=0.1)


def test_what_trainers_save_beside_the_model(tmp_path: Path) -> None:
    beside = {"optimizer": {"state": {0: torch.ones(1)}}, "epoch": 3, "scaler": {}}
    options = argparse.Namespace(model="hiera_base_128x224", output_dir=tmp_path, lr=1e-4)
    file = saved(tmp_path, {"model": weights(), **beside, "args": options})
    assert torch.equal(load(file), expected())


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    tensors = weights() | more(("block.0.norm1.weight", "neck.weight"))
    del tensors["blocks.1.proj.bias"]
    tensors["pos_embed_temporal"] = torch.ones(1, 8, 4)
    tensors["blocks.0.norm1.weight"] = torch.ones(4, dtype=torch.int64)
    tensors["blocks.0.norm1.bias"] = torch.full((4,), float("nan"))
    text = refusal(saved(tmp_path, {"model": tensors}))
    shown = (
        "`block.0.norm1.weight` is not part of the model; `neck.weight` is not part of the model;"
        " `blocks.1.proj.bias` is missing; 3 more. If it is a CLIP checkpoint, set"
        " `from_clip: true`."
    )
    assert text.endswith(shown)


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (torch.ones(1, 8, 4), r"has the shape \(1, 8, 4\), not \(1, 2, 4\)\."),
        (torch.ones(1, 2, 4, dtype=torch.int32), "has the dtype torch.int32, which is not"),
        (torch.full((1, 2, 4), float("inf")), "contains non-finite values"),
    ],
)
def test_one_that_does_not_fit(tmp_path: Path, tensor: Tensor, said: str) -> None:
    text = refusal(saved(tmp_path, weights() | {"pos_embed_temporal": tensor}))
    assert re.search(rf"does not fit: `pos_embed_temporal` {said}", text) and "more" not in text


@pytest.mark.parametrize("name", ["blocks.0.norm3.weight", "visual.transformer.x", "text.x", "x"])
def test_no_place_is_an_error(tmp_path: Path, name: str) -> None:
    text = refusal(saved(tmp_path, weights() | more((name,))))
    assert f"`{name}` is not part of the model" in text


@pytest.mark.parametrize(
    "name", ["visual.transformer.x", "visual.x", "transformer.x", "blocks.0.x"]
)
def test_no_place_in_clip_is_an_error(tmp_path: Path, name: str) -> None:
    tower = {f"visual.transformer.{name}": tensor for name, tensor in weights().items()}
    text = refusal(saved(tmp_path, {"clip": tower | more((*TEXT, name))}), from_clip=True)
    hint = "If it is not a CLIP checkpoint, set `from_clip: false`."
    assert f"`{name}` is not part of the model. {hint}" in text


def test_the_other_layout_is_said(tmp_path: Path) -> None:
    trained = saved(tmp_path, {"model": weights()})
    assert "set `from_clip: false`" in refusal(trained, from_clip=True)
    clip = saved(tmp_path, {f"visual.transformer.{k}": v for k, v in weights().items()}, "b.pt")
    assert "set `from_clip: true`" in refusal(clip)


class MakesFolder:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_nothing_pickled_is_run(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    text = refusal(saved(tmp_path, {"model": weights(), "args": MakesFolder(folder)}))
    assert "it contains a `posix.mkdir`" in text
    assert not folder.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"model": {"epoch": 3} | weights()}, "`epoch` is a int"),
        (
            {"state": weights()},
            "`state` is a dict; tensors are expected under the keys `model`, `model_state`",
        ),
        ([torch.ones(1)], "does not contain named tensors"),
        ({"model": {}}, "does not contain named tensors"),
        (torch.ones(1), "does not contain named tensors"),
    ],
)
def test_contents_other_than_tensors(tmp_path: Path, content: Any, said: str) -> None:
    assert said in refusal(saved(tmp_path, content))


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights", b"\x80\x02garbage", b"PK\x03\x04cut"])
def test_unreadable_files(tmp_path: Path, suffix: str, content: bytes) -> None:
    file = tmp_path / f"a{suffix}"
    file.write_bytes(content)
    text = refusal(file)
    assert "cannot be read" in text and "\n" not in text


def test_cut_files(tmp_path: Path) -> None:
    file = saved(tmp_path, {"model": weights()})
    file.write_bytes(file.read_bytes()[:-200])
    assert "cannot be read" in refusal(file)


def test_files_that_are_none(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "a.pth")
    (tmp_path / "a.ckpt").write_bytes(b"")
    assert "must end in .pth, .pt, .safetensors" in refusal(tmp_path / "a.ckpt")
    (tmp_path / "b.pth").mkdir()
    assert "does not exist" in refusal(tmp_path / "b.pth")
