import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from torch import Tensor

from kinesweep.config.recipe.video import HfVisionEncoderConfig
from kinesweep.core.errors import CheckpointError, InputError
from kinesweep.features.encoders.hf_vision import HfVisionEncoder

SIZE, D = 16, 16  # pixels, width; patches of 8, so 4 a picture
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
SAID = {"image_mean": MEAN, "image_std": STD, "size": {"height": SIZE, "width": SIZE}}
VIT: dict[str, Any] = {
    "hidden_size": D,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIZE,
    "patch_size": 8,
}
TEXT = {**VIT, "num_hidden_layers": 1, "vocab_size": 9, "max_position_embeddings": 8}
FILM = {**VIT, "num_frames": 4}
TUBES = {**FILM, "tubelet_size": [2, 8, 8]}


def clip() -> Any:
    return hf.CLIPModel(hf.CLIPConfig(text_config=TEXT, vision_config=VIT, projection_dim=8))


def siglip() -> Any:
    return hf.SiglipModel(hf.SiglipConfig(text_config=TEXT, vision_config=VIT))


def jepa() -> Any:
    own = {"crop_size": SIZE, "frames_per_clip": 4, "patch_size": 8, "mlp_ratio": 1.5}
    size = {"hidden_size": 24, "num_attention_heads": 2, "num_hidden_layers": 2}
    guess = {f"pred_{key}": 1 for key in ("num_hidden_layers", "num_mask_tokens")}
    guess |= {"pred_hidden_size": 24, "pred_num_attention_heads": 2}
    return hf.VJEPA2Model(hf.VJEPA2Config(**own, **size, **guess))


MODELS: dict[str, Callable[[], Any]] = {
    "dinov2": lambda: hf.Dinov2Model(hf.Dinov2Config(**VIT)),
    "registers": lambda: hf.Dinov2WithRegistersModel(
        hf.Dinov2WithRegistersConfig(**VIT, num_register_tokens=4)
    ),
    "vit": lambda: hf.ViTModel(hf.ViTConfig(**VIT)),
    "beit": lambda: hf.BeitModel(hf.BeitConfig(**VIT)),
    "deit": lambda: hf.DeiTModel(hf.DeiTConfig(**VIT)),
    "clip": clip,
    "clip_vision": lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig(**VIT)),
    "siglip": siglip,
    "siglip_vision": lambda: hf.SiglipVisionModel(hf.SiglipVisionConfig(**VIT)),
    "convnext": lambda: hf.ConvNextModel(
        hf.ConvNextConfig(hidden_sizes=[8, D], depths=[1, 1], num_stages=2, patch_size=2)
    ),
    "swin": lambda: hf.SwinModel(
        hf.SwinConfig(
            embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=2, image_size=16, patch_size=4
        )
    ),
    "videomae": lambda: hf.VideoMAEModel(hf.VideoMAEConfig(**FILM)),
    "vivit": lambda: hf.VivitModel(hf.VivitConfig(**TUBES)),
    "timesformer": lambda: hf.TimesformerModel(hf.TimesformerConfig(**FILM)),
    "vjepa2": jepa,
}
TOWERS = {"clip", "siglip"}
VIDEOS = {"videomae": 2, "vivit": 2, "timesformer": 4, "vjepa2": 2}
"""Kind → moments of four frames."""
LEADING = {"dinov2": 1, "registers": 5, "vit": 1, "beit": 1, "deit": 2, "clip": 1, "clip_vision": 1}
CLASSLESS = ["videomae", "vjepa2", "convnext", "siglip", "swin"]


def saved(folder: Path, kind: str, said: dict[str, Any] | None = SAID) -> tuple[Path, Any]:
    """A folder of random weights, and the tower in it that sees."""
    torch.manual_seed(5)
    model = MODELS[kind]().eval()
    with torch.no_grad():  # class, register and position tokens that begin as zeros would hide
        for weights in model.parameters():
            weights.add_(0.2 * torch.randn_like(weights))
    model.save_pretrained(folder)
    if said is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(said))
    return folder, model.vision_model if kind in TOWERS else model


def load(folder: Path, pool: str = "mean", precision: str = "fp32") -> HfVisionEncoder:
    plain = {"pretrained": str(folder), "pool": pool}
    return HfVisionEncoder.from_config(
        HfVisionEncoderConfig.model_validate(plain), precision, "cpu"
    )


def films(num_windows: int = 3, num_frames: int = 4) -> Tensor:
    shape = (num_windows, num_frames, SIZE, SIZE, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.manual_seed(7))


def normalised(frame_HWC: Tensor) -> Tensor:
    channels = [
        (frame_HWC[..., c].double() / 255 - MEAN[c]) / STD[c] for c in range(3)
    ]  # one by one, unlike the code
    return torch.stack(channels).float()


@torch.no_grad()
def expected(kind: str, tower: Any, pixels_BFHWC: Tensor) -> Tensor:
    """Window by window, picture by picture, patch by patch."""
    windows = []
    for window in pixels_BFHWC:
        frames = [normalised(frame) for frame in window]
        if kind not in VIDEOS:
            states = [tower(frame[None]).last_hidden_state[0] for frame in frames]
            if states[0].ndim == 3:
                moments = [state.sum((1, 2)) / state[0].numel() for state in states]
            else:
                moments = [state[LEADING.get(kind, 0) :].mean(0) for state in states]
        else:
            stacked = torch.stack(frames)[None]
            states = tower(stacked).last_hidden_state[0]
            if kind == "timesformer":  # patch after patch, its frames beside each other
                moments = [states[1 + f :: 4].mean(0) for f in range(4)]
            else:
                start = 1 if kind == "vivit" else 0
                moments = [states[start + 4 * k : start + 4 * k + 4].mean(0) for k in range(2)]
        windows.append(torch.stack(moments))
    return torch.stack(windows)


@pytest.mark.parametrize("kind", MODELS)
def test_features_are_the_models(tmp_path: Path, kind: str) -> None:
    folder, tower = saved(tmp_path, kind)
    encoder, pixels = load(folder), films()
    found = encoder(pixels, [4, 4, 4])
    assert encoder.size == SIZE and encoder.count_time_steps(4) == VIDEOS.get(kind, 4)
    assert found.shape == (3, VIDEOS.get(kind, 4), encoder.width)
    assert found.dtype == torch.float32 and found.device.type == "cpu"
    torch.testing.assert_close(found, expected(kind, tower, pixels), rtol=1e-4, atol=1e-5)
    assert found.std(0).max() > 1e-2  # other pixels, other features


@pytest.mark.parametrize("kind", MODELS)
def test_windows_stand_alone(tmp_path: Path, kind: str) -> None:
    encoder, pixels = load(saved(tmp_path, kind)[0]), films()
    beside, other = encoder(pixels, [4, 4, 4]), pixels.clone()
    other[1:] = 255 - other[1:]
    assert (encoder(other, [4, 1, 1])[0] - beside[0]).abs().max() <= 1e-5
    if kind not in VIDEOS:  # what pads a window reaches no frame before it
        other[0, 2:] = 0
        assert (encoder(other, [2, 4, 4])[0, :2] - beside[0, :2]).abs().max() <= 1e-5


@pytest.mark.parametrize("kind", ["dinov2", "clip", "siglip", "convnext", "videomae", "vivit"])
def test_half_precision_is_near(tmp_path: Path, kind: str) -> None:
    folder, _ = saved(tmp_path, kind)
    full, half = (load(folder, precision=one)(films(), [4] * 3) for one in ("fp32", "bf16"))
    assert half.dtype == torch.float32 and not torch.equal(half, full)
    assert (half - full).abs().max() < 0.03 * full.abs().max()


@pytest.mark.parametrize("kind", ["registers", "clip", "vit", "deit"])
def test_first_is_the_class_token(tmp_path: Path, kind: str) -> None:
    folder, tower = saved(tmp_path, kind)
    pixels = films(1, 2)
    with torch.no_grad():
        states = tower(torch.stack([normalised(frame) for frame in pixels[0]])).last_hidden_state
    torch.testing.assert_close(load(folder, "first")(pixels, [2])[0], states[:, 0])


@pytest.mark.parametrize("kind", ["vivit", "timesformer"])
def test_a_videos_class_token_is_of_its_window(tmp_path: Path, kind: str) -> None:
    folder, tower = saved(tmp_path, kind)
    encoder, pixels = load(folder, "first"), films(1)
    assert encoder.count_time_steps(4) == 1
    with torch.no_grad():
        inputs = torch.stack([normalised(frame) for frame in pixels[0]])[None]
        states = tower(inputs).last_hidden_state
    torch.testing.assert_close(encoder(pixels, [4]), states[:, :1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", CLASSLESS)
def test_no_class_token_no_first(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InputError, match="has no class token"):
        load(saved(tmp_path, kind)[0], "first")


@pytest.mark.parametrize("kind", VIDEOS)
def test_a_video_model_names_its_frames(tmp_path: Path, kind: str) -> None:
    encoder = load(saved(tmp_path, kind)[0])
    with pytest.raises(InputError, match=r"`features.windows.num_frames` is 6.* Set it to 4"):
        encoder.count_time_steps(6)
    with pytest.raises(InputError, match="Set it to 4"):
        encoder(films(1, 2), [2])


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def test_missing_weights_are_named(tmp_path: Path) -> None:
    key = "encoder.layer.0.attention.attention.query.weight"
    folder, _ = saved(tmp_path, "videomae")
    rewrite(folder, lambda weights: weights.pop(key))  # type: ignore[arg-type,return-value]
    with pytest.raises(CheckpointError, match=f"1 are missing: `{key}`"):
        load(folder)


def test_misfits_are_named(tmp_path: Path) -> None:
    folder, _ = saved(tmp_path, "siglip")
    key = "vision_model.post_layernorm.weight"
    rewrite(folder, lambda weights: weights.update({key: torch.ones(3)}))
    with pytest.raises(CheckpointError, match=r"post_layernorm.weight \(\[3\], not \[16\]\)"):
        load(folder)


@pytest.mark.parametrize("kind", ["vit", "vivit", "siglip"])
def test_a_pooler_may_miss(tmp_path: Path, kind: str) -> None:
    folder, _ = saved(tmp_path, kind)
    before = load(folder)(films(), [4] * 3)

    def behead(weights: dict[str, Tensor]) -> None:
        for key in [key for key in weights if "pooler." in key or "vision_model.head." in key]:
            del weights[key]

    rewrite(folder, behead)
    assert torch.equal(load(folder)(films(), [4] * 3), before)


def test_a_masked_autoencoder_sees_all(tmp_path: Path) -> None:
    tiny = {"decoder_num_hidden_layers": 1, "decoder_hidden_size": 8}
    model = hf.ViTMAEForPreTraining(
        hf.ViTMAEConfig(**VIT, **tiny, decoder_num_attention_heads=2, mask_ratio=0.0)
    ).eval()
    model.config.mask_ratio = 0.75  # of the folder; the model in hand hides nothing
    model.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(SAID))
    model.config.mask_ratio = 0.0
    found = load(tmp_path)(films(), [4] * 3)
    with torch.no_grad():
        one = model.vit(normalised(films()[2, 1])[None]).last_hidden_state[0, 1:].mean(0)
    torch.testing.assert_close(found[2, 1], one, rtol=1e-4, atol=1e-5)


def test_pickles_are_not_read(tmp_path: Path) -> None:
    folder, model = saved(tmp_path, "vit")
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="must be safetensors"):
        load(folder)


def test_no_preprocessor_is_refused(tmp_path: Path) -> None:
    folder, _ = saved(tmp_path, "vit", None)
    with pytest.raises(InputError, match=r"no `preprocessor_config.json` beside its weights"):
        load(folder)


def test_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"has no `config.json`"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("own", "text"),
    [
        ({"model_type": "videoprism_vision_model"}, "`videoprism_vision_model`, a video model"),
        ({"model_type": "detr"}, "from a decoder"),
        ({"model_type": "clipseg", "vision_config": {}}, "`clipseg_vision_model` cannot be loaded"),
    ],
)
def test_unknown_kinds_are_refused_by_name(tmp_path: Path, own: dict[str, Any], text: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(own))
    with pytest.raises(InputError, match=text):
        load(tmp_path)


def test_unknown_tokens_are_refused(tmp_path: Path) -> None:
    """YOLOS: its detections stand behind the patches."""
    config = hf.YolosConfig(**{**VIT, "image_size": [SIZE, SIZE]}, num_detection_tokens=3)
    hf.YolosModel(config).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(SAID))
    with pytest.raises(
        InputError, match=r"`yolos`, whose output for an image of 16 pixels is \(8, 16\)"
    ):
        load(tmp_path)


def test_a_size_the_model_does_not_take(tmp_path: Path) -> None:
    folder, _ = saved(tmp_path / "vit", "vit", {**SAID, "crop_size": 24})
    with pytest.raises(InputError, match="cannot process images of 24 pixels"):
        load(folder)
    folder, _ = saved(tmp_path / "tsf", "timesformer", {**SAID, "crop_size": 24})
    with pytest.raises(InputError, match="of 16 pixels, but its preprocessor file produces 24"):
        load(folder)


def test_a_size_left_out_is_the_models(tmp_path: Path) -> None:
    said = {key: value for key, value in SAID.items() if key != "size"}
    assert load(saved(tmp_path, "clip", said)[0]).size == SIZE
