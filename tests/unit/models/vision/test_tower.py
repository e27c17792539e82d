"""The vision tower: equal to extraction, differentiable, frozen, adapted, checkpointed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf

from kinesweep.config.recipe.model.vision import HfVisionConfig, SignHieraVisionConfig
from kinesweep.features.encoders.hf_vision import HfVisionEncoder
from kinesweep.features.encoders.signhiera_encoder import SignHieraEncoder
from kinesweep.features.video import encode_windows, iter_batches
from kinesweep.features.video_windows import build_window_positions, iter_windows
from kinesweep.features.window_stitcher import WindowStitcher
from kinesweep.models.encoders.frame_encoder import SourceSpan
from kinesweep.models.vision.tower import VisionTower
from kinesweep.models.vision.vision_loading import (
    build_vision_tower,
    create_vision_network,
    describe_vision_network,
)
from kinesweep.models.vision.window_plan import WindowPlanner

SIZE = 16
SHAPE = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIZE,
    "patch_size": 8,
    "initializer_range": 0.4,
}
MLP = {"intermediate_size": 32}
SCRATCH: dict[str, dict[str, Any]] = {
    "dinov2": {"model_type": "dinov2", **SHAPE, "mlp_ratio": 2},
    "clip": {"model_type": "clip_vision_model", **SHAPE, **MLP, "initializer_factor": 4.0},
    "videomae": {"model_type": "videomae", **SHAPE, **MLP, "num_frames": 8},
    "timesformer": {"model_type": "timesformer", **SHAPE, **MLP, "num_frames": 8},
    "resnet": {
        "model_type": "resnet",
        "embedding_size": 8,
        "hidden_sizes": [8, 16],
        "depths": [1, 1],
        "layer_type": "basic",
    },
}
HIERA = {
    "max_frames": 8,
    "size": 32,
    "first_stage_width": 8,
    "stage_depths": [1, 1, 1],
    "num_local_stages": 1,
}
WINDOWS = {"num_frames": 8}


def make_tower(kind: str, **settings: Any) -> VisionTower:
    """A tower with random weights, as the factory of translators builds it."""
    torch.manual_seed(3)
    settings = {"windows": WINDOWS, **settings}
    if kind == "signhiera":
        config: Any = SignHieraVisionConfig.model_validate({"scratch": HIERA, **settings})
    else:
        config = HfVisionConfig.model_validate({"scratch": SCRATCH[kind], **settings})
    network = create_vision_network(config, 32 if kind == "signhiera" else SIZE)
    entry = describe_vision_network(network, config)
    tower = build_vision_tower(config, entry, network)
    assert tower is not None
    tower.add_adapters()
    tower.freeze_parameters()
    return tower.train()


def make_frames(tower: VisionTower, *lengths: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random frames and their mask; what lies behind the end of a clip is random too."""
    torch.manual_seed(4)
    width = 3 * tower.network.size**2
    x_BTP = torch.randint(0, 256, (len(lengths), max(lengths), width), dtype=torch.uint8)
    return x_BTP, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def extract(tower: VisionTower, frames_TP: torch.Tensor) -> np.ndarray:  # type: ignore[type-arg]
    """The vectors of one clip as extraction of video features computes them."""
    network, config = tower.network, tower.config
    if isinstance(config, SignHieraVisionConfig):
        encoder: Any = SignHieraEncoder(network.model)
    else:
        encoder = HfVisionEncoder(network.model, network.normalization, config.pool, "fp32", "cpu")
    frames = frames_TP.numpy().reshape(-1, network.size, network.size, 3)
    windows = config.windows
    stitcher = WindowStitcher(windows, encoder.count_time_steps(windows.num_frames))
    found, num_real = [], 0
    positions = build_window_positions(windows, windows.target_fps)
    for batch in iter_batches(iter_windows(frames, positions), 3):
        found += list(encode_windows(encoder, batch, 3))
        num_real = batch[-1].num_real_frames
    return stitcher.stitch_windows(found, num_real)


@pytest.mark.parametrize(
    ("kind", "pool"),
    [
        ("dinov2", "mean"),
        ("clip", "first"),
        ("resnet", "mean"),
        ("videomae", "mean"),
        ("timesformer", "first"),
        ("signhiera", "mean"),
    ],
)
@pytest.mark.parametrize(
    "windows",
    [
        {"num_frames": 8},
        {"num_frames": 8, "stride": 4, "overlap": "concat"},
        {"num_frames": 8, "stride": 4, "overlap": "average", "sampling_rate": 2},
        {"num_frames": 8, "stride": 4, "overlap": "crop"},
    ],
    ids=["apart", "concat", "average", "crop"],
)
def test_frozen_equals_extracted(kind: str, pool: str, windows: dict[str, Any]) -> None:
    if kind == "timesformer" and windows.get("overlap") in ("average", "crop"):
        windows = {**windows, "stride": 8 * windows.get("sampling_rate", 1)}  # one step a window
    settings = {"pool": pool} if kind != "signhiera" else {}
    tower = make_tower(kind, windows=windows, freeze=True, batch=3, **settings)
    lengths = (29, 8, 1, 17)
    x_BTP, mask_BT = make_frames(tower, *lengths)
    x_BND, mask_BN = tower(x_BTP, mask_BT)
    for row, length in enumerate(lengths):
        expected_TD = extract(tower, x_BTP[row, :length])
        assert mask_BN[row].sum() == len(expected_TD) == tower.count_vectors(length)
        found_TD = x_BND[row, : len(expected_TD)].numpy()
        np.testing.assert_allclose(found_TD, expected_TD, atol=1e-5, rtol=0)
        assert expected_TD.std() > 0.01
    assert not x_BND[~mask_BN].any()
    assert not x_BND.requires_grad


@pytest.mark.parametrize("kind", ["clip", "videomae", "signhiera"])
def test_every_trained_weight_gets_a_gradient(kind: str) -> None:
    tower = make_tower(kind)
    x_BND, _ = tower(*make_frames(tower, 12, 5))
    (x_BND * torch.randn_like(x_BND)).sum().backward()
    trained = {name for name, p in tower.network.named_parameters() if p.requires_grad}
    assert trained == {n for n, p in tower.network.named_parameters() if p.grad is not None}
    assert all(p.grad.any() for _, p in tower.network.named_parameters() if p.requires_grad)
    unused = {name for name, _ in tower.network.named_parameters()} - trained
    assert unused == (
        {"model.post_layernorm.weight", "model.post_layernorm.bias"} if kind == "clip" else set()
    )


def test_frozen_model_stays_in_evaluation_mode() -> None:
    tower = make_tower("resnet", freeze=True)
    statistics = [buffer.clone() for buffer in tower.buffers()]
    assert not any(module.training for module in tower.modules())
    x_BTP, mask_BT = make_frames(tower, 9)
    assert torch.equal(tower(x_BTP, mask_BT)[0], tower.train()(x_BTP, mask_BT)[0])
    assert all(torch.equal(a, b) for a, b in zip(statistics, tower.buffers(), strict=True))
    assert not any(p.requires_grad for p in tower.parameters())
    trained = make_tower("resnet")
    trained(x_BTP, mask_BT)
    assert not all(torch.equal(a, b) for a, b in zip(statistics, trained.buffers(), strict=True))


def test_lora_trains_adapters_alone() -> None:
    tower = make_tower("resnet", lora=None)
    assert tower.network.model.training
    lora = {"rank": 2, "targets": ["q_proj", "fc1"]}
    torch.manual_seed(3)
    config = HfVisionConfig.model_validate({"scratch": SCRATCH["clip"], "windows": WINDOWS})
    network = create_vision_network(config, SIZE)
    config = HfVisionConfig.model_validate({**config.model_dump(), "lora": lora})
    tower = VisionTower(config, network)
    before = tower.eval()(*make_frames(tower, 9))[0]
    tower.add_adapters()
    tower.freeze_parameters()
    names = {name for name, p in tower.named_parameters() if p.requires_grad}
    assert names and all(
        "lora_" in name and (".q_proj" in name or ".fc1" in name) for name in names
    )
    assert torch.equal(tower(*make_frames(tower, 9))[0], before)  # B starts at zero


@pytest.mark.parametrize("kind", ["dinov2", "videomae"])
def test_gradient_checkpointing_changes_no_bit(kind: str) -> None:
    gradients = []
    for checkpointing in (False, True):
        tower = make_tower(kind, gradient_checkpointing=checkpointing, batch=1)
        for module in tower.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.3
        torch.manual_seed(8)
        x_BND, _ = tower(*make_frames(tower, 20, 9))
        x_BND.square().sum().backward()
        gradients.append([p.grad for p in tower.parameters() if p.requires_grad])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_gradient_checkpointing_refuses_batch_norm() -> None:
    with pytest.raises(ValueError, match="batch norms twice"):
        make_tower("resnet", gradient_checkpointing=True)


@pytest.mark.parametrize("kind", ["dinov2", "videomae", "signhiera"])
def test_padding_and_other_clips_change_nothing(kind: str) -> None:
    tower = make_tower(kind).eval()
    x_BTP, mask_BT = make_frames(tower, 21, 0, 6)
    x_BND, mask_BN = tower(x_BTP, mask_BT)
    assert mask_BN.sum(dim=1).tolist()[1] == 0
    alone, _ = tower(x_BTP[2:, :6], mask_BT[2:, :6])
    assert torch.allclose(x_BND[2, : alone.shape[1]], alone[0], atol=1e-6)
    none, mask = tower(x_BTP[1:2], mask_BT[1:2])
    assert none.shape[1] == 1 and not mask.any()


def test_frames_of_another_kind_are_refused() -> None:
    tower = make_tower("dinov2")
    x_BTP, mask_BT = make_frames(tower, 4)
    with pytest.raises(ValueError, match=r"768 values of uint8.*got 768 values of torch.float32"):
        tower(x_BTP.float(), mask_BT)
    with pytest.raises(ValueError, match=r"got 700 values of torch\.uint8"):
        tower(x_BTP[:, :, :700], mask_BT)


def test_spans_of_vectors_are_frames() -> None:
    def spans(steps: int, num_frames: int, **windows: Any) -> list[tuple[int, int]]:
        config = HfVisionConfig.model_validate(
            {"scratch": SCRATCH["dinov2"], "windows": {"num_frames": 8, **windows}}
        )
        return WindowPlanner(config.windows, steps).list_frame_spans(num_frames)

    assert spans(8, 3) == [(0, 1), (1, 2), (2, 3)]
    assert spans(4, 11) == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10), (10, 11)]
    assert spans(1, 11, stride=4) == [(0, 8), (4, 11)]
    assert spans(4, 12, stride=4, overlap="average") == [(f, f + 2) for f in range(0, 12, 2)]
    tower = make_tower("videomae")
    assert tower.get_source_spans([SourceSpan(0, 2), SourceSpan(2, 3)], 6) == [
        SourceSpan(0, 4),
        SourceSpan(4, 6),
    ]


@pytest.mark.parametrize("overlap", ["concat", "crop", "average"])
def test_index_of_stitching_stitches(overlap: str) -> None:
    config = HfVisionConfig.model_validate(
        {"scratch": SCRATCH["dinov2"], "windows": {**WINDOWS, "stride": 2, "overlap": overlap}}
    ).windows
    stitcher = WindowStitcher(config, 4)
    rng = np.random.default_rng(0)
    for num_windows, num_last in ((1, 3), (5, 7), (4, 8)):
        windows = list(rng.standard_normal((num_windows, 4, 2)).astype(np.float32))
        expected_TD = stitcher.stitch_windows(windows, num_last)
        sources, places = stitcher.build_index(num_windows, num_last)
        sums_TD = np.zeros_like(expected_TD)
        np.add.at(sums_TD, places, np.concatenate(windows)[sources])
        counts = np.bincount(places)
        np.testing.assert_allclose(sums_TD / counts[:, None], expected_TD, atol=1e-6)


def save_clip(folder: Path) -> Path:
    """A CLIP tower of 16 pixels with its preprocessor file."""
    hf.CLIPVisionModel(hf.CLIPVisionConfig(**SHAPE)).save_pretrained(folder)
    text = '{"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4], "size": 16}'
    (folder / "preprocessor_config.json").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("settings", "size", "message"),
    [
        ({}, 24, "for images of 16 pixels, but the store holds frames of 24"),
        ({"scratch": SCRATCH["videomae"]}, 24, "`videomae` for images of 16 pixels"),
        ({"scratch": SCRATCH["videomae"], "windows": {"num_frames": 16}}, 16, "processes 8 frames"),
        ({"scratch": SCRATCH["videomae"], "pool": "first"}, 16, "`model.vision.pool` is `first`"),
        ({"pretrained": "/no/where"}, 16, "`model.vision.pretrained` is `/no/where`"),
        ({"scratch": {"model_type": "clip"}}, 16, "its image tower, `clip_vision_model`"),
        ({"scratch": {"model_type": "wit"}}, 16, "not a Hugging Face model type; did you mean"),
        ({"scratch": {"model_type": "vit", "layers": 2}}, 16, "unknown to `vit`"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, settings: dict[str, Any], size: int, message: str
) -> None:
    if not settings:
        settings = {"pretrained": str(save_clip(tmp_path))}
    config = HfVisionConfig.model_validate({"windows": WINDOWS, **settings})
    with pytest.raises(ValueError, match=message):
        network = create_vision_network(config, size)
        build_vision_tower(config, describe_vision_network(network, config), network)


def test_models_that_interpolate_read_other_sizes() -> None:
    config = HfVisionConfig.model_validate({"scratch": SCRATCH["dinov2"], "windows": WINDOWS})
    assert create_vision_network(config, 24).size == 24


@pytest.mark.parametrize(
    ("scratch", "message"),
    [
        ({"sizes": 3}, r"scratch.sizes.*unknown; did you mean `size`"),
        ({"size": 30}, "cannot be built: mask units are whole"),
    ],
)
def test_sizes_of_signhiera_are_checked(scratch: dict[str, Any], message: str) -> None:
    config = SignHieraVisionConfig.model_validate({"scratch": scratch})
    with pytest.raises(ValueError, match=message):
        create_vision_network(config, 30)
