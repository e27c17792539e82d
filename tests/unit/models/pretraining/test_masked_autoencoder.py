"""Masked autoencoding: transformers' numbers for one moment; hidden and padded units."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from transformers import HieraConfig
from transformers.models.hiera.modeling_hiera import HieraForPreTraining

from kinesweep.config.pretraining.objectives import MaskedAutoencodingConfig, PretrainedModelConfig
from kinesweep.core.windows.window_batch import WindowBatch
from kinesweep.features.encoders.signhiera import HieraGeometry, SignHiera
from kinesweep.features.encoders.signhiera_network import load_signhiera, write_signhiera
from kinesweep.models.pretraining.factory import build_objective, find_geometry
from kinesweep.models.pretraining.masked_autoencoder import MaskedAutoencoder, compute_targets
from kinesweep.models.pretraining.masked_encoder import encode_visible_units
from kinesweep.models.pretraining.unit_masks import (
    UnitMasks,
    draw_branch_factors,
    draw_unit_masks,
)
from tolerances import float64  # noqa: F401

TINY = {"max_frames": 8, "size": 64, "first_stage_width": 4, "stage_depths": [1, 1, 2, 1]}
DECODER = {"decoder_width": 16, "decoder_depth": 2, "decoder_heads": 4}


def autoencoder(drop_path: float = 0.0, **changes: object) -> MaskedAutoencoder:
    """A tiny one whose every weight tells."""
    torch.manual_seed(0)
    config = MaskedAutoencodingConfig.model_validate({**DECODER, "mask_ratio": 0.75, **changes})
    model = PretrainedModelConfig(scratch=TINY, drop_path=drop_path)
    objective = build_objective(config, model)
    assert isinstance(objective, MaskedAutoencoder)
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return objective


def windows(real: tuple[int, ...], frames: int = 8) -> WindowBatch:
    """Noise that repeats its last real frame."""
    torch.manual_seed(1)
    pixels = torch.randint(256, (len(real), frames, 64, 64, 3), dtype=torch.uint8)
    for row, kept in enumerate(real):
        pixels[row, kept:] = pixels[row, kept - 1]
    seeds = tuple(range(10, 10 + len(real)))
    return WindowBatch(pixels, real, seeds, tuple(map(str, seeds)), ((),) * len(real))


def unit_masks(is_shown_BU: Tensor, is_real_BU: Tensor | None = None) -> UnitMasks:
    """Masks of equally many visible units, from what is shown."""
    visible_BN = is_shown_BU.nonzero()[:, 1].view(len(is_shown_BU), -1)
    real = torch.ones_like(is_shown_BU) if is_real_BU is None else is_real_BU
    return UnitMasks(visible_BN, torch.ones_like(visible_BN).bool(), real & ~is_shown_BU, real)


def copy_hiera(theirs: HieraForPreTraining, ours: MaskedAutoencoder) -> None:
    """Copies the weights of an image model; a moment of ours then sees its first frame alone."""
    names = [("encoder.stages", "encoder.blocks"), ("layernorm_before", "norm1")]
    names += [
        ("layernorm_after", "norm2"),
        ("decoder.decoder_block.layers", "decoder.decoder_blocks"),
    ]
    names += [
        ("multiscale_fusion.", "decoder."),
        ("decoder.decoder_embeddings", "decoder.decoder_embed"),
    ]
    names += [("hiera.encoder.blocks", "encoder.blocks")]
    names += [("decoder_position_embeddings", "decoder_pos_embed")]
    names += [("hiera.embeddings.position_embeddings", "encoder.pos_embed_spatial")]
    names += [("hiera.embeddings.patch_embeddings.projection", "encoder.patch_embed.proj")]
    first = {0: 0, 1: 1, 2: 2, 3: 4}
    state = ours.state_dict()
    state["encoder.pos_embed_temporal"].zero_()
    for name, value in theirs.state_dict().items():
        for theirs_name, ours_name in names:
            name = name.replace(theirs_name, ours_name)
        if name.startswith("encoder.blocks"):
            stage, _, layer, rest = name.removeprefix("encoder.blocks.").split(".", 3)
            name = f"encoder.blocks.{first[int(stage)] + int(layer)}.{rest}"
        name = f"decoder.{name}" if name.startswith("encoder_norm") else name
        target = state.pop(name)
        if name == "encoder.patch_embed.proj.weight":
            target.zero_()
            # Of three frames, the middle one: the first of the two that a moment is made of.
            target = target[:, :, 1]
        elif name.startswith("decoder.decoder_pred"):
            # Theirs predicts color by color, ours pixel by pixel.
            value = value.unflatten(0, (3, -1)).transpose(0, 1).flatten(0, 1)
        target.copy_(value.view_as(target))
    assert set(state) == {"encoder.pos_embed_temporal"}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("normalize", [True, False])
def test_gives_the_loss_of_transformers(normalize: bool) -> None:
    torch.manual_seed(2)
    config = HieraConfig(
        **{"embed_dim": 4, "image_size": [96, 96], "depths": [1, 1, 2, 1]},
        **{"masked_unit_attention": [True, True, False, False], "num_query_pool": 3},
        **{"decoder_hidden_size": 16, "decoder_depth": 2, "decoder_num_heads": 4},
        **{"mask_ratio": 0.6, "normalize_pixel_loss": normalize},
    )
    theirs = HieraForPreTraining(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    geometry = {**TINY, "max_frames": 2, "size": 96}
    objective_config = MaskedAutoencodingConfig.model_validate(
        {**DECODER, "normalize_targets": normalize}
    )
    ours = build_objective(objective_config, PretrainedModelConfig(scratch=geometry))
    assert isinstance(ours, MaskedAutoencoder)
    copy_hiera(theirs, ours)
    pixels_BCHW, noise_BU = torch.randn(3, 3, 96, 96), torch.rand(3, 9)
    with torch.no_grad():
        expected = theirs(pixels_BCHW, noise=noise_BU)
    is_shown_BU = noise_BU.argsort(dim=1).argsort(dim=1) < 3
    pixels_BCFHW = torch.stack([pixels_BCHW, torch.randn_like(pixels_BCHW)], dim=2)
    with torch.no_grad():
        predicted_BUP = ours.predict_units(pixels_BCFHW, unit_masks(is_shown_BU))
    targets_BUP = compute_targets(pixels_BCFHW, 32, normalize)
    loss = (predicted_BUP - targets_BUP).square().mean(dim=2)[~is_shown_BU].mean()
    torch.testing.assert_close(loss, expected.loss)


@pytest.mark.usefixtures("float64")
def test_without_hidden_units_the_encoder_is_signhiera() -> None:
    encoder = autoencoder().encoder
    pixels_BCFHW = torch.randn(2, 3, 8, 64, 64)
    masks = draw_unit_masks((1, 2), (4, 4), 4, mask_ratio=0)
    assert not masks.is_hidden_BU.any()
    with torch.no_grad():
        units_BND = encode_visible_units(encoder, pixels_BCFHW, masks)[-1][:, :, 0, 0]
        torch.testing.assert_close(
            units_BND.unflatten(1, (4, 4)).mean(dim=2), encoder(pixels_BCFHW)
        )


@pytest.mark.usefixtures("float64")
def test_hidden_pixels_and_padding_are_never_read() -> None:
    objective = autoencoder().eval()
    batch = windows((8, 5))
    masks = draw_unit_masks(batch.seeds_B, (4, 3), 4, 0.75)
    pixels = torch.randn(2, 3, 8, 64, 64)
    shown_BTHW = masks.is_shown.view(2, 4, 2, 2).repeat_interleave(2, 1)
    shown = shown_BTHW.repeat_interleave(32, 2).repeat_interleave(32, 3)[:, None]
    other = torch.where(shown, pixels, torch.randn_like(pixels))
    with torch.no_grad():
        seen, again = objective.predict_units(pixels, masks), objective.predict_units(other, masks)
        torch.testing.assert_close(seen, again, rtol=0, atol=0)
        # The visible ones are.
        changed = objective.predict_units(torch.where(shown, other + 1, other), masks)
    assert (changed - seen).abs().max() > 1e-3


@pytest.mark.usefixtures("float64")
def test_a_short_window_has_the_loss_that_it_has_alone() -> None:
    objective = autoencoder().eval()
    batch = windows((8, 3, 6))
    together = objective.compute_values(batch)["masked_loss"]
    for row in range(3):
        frames = 2 * -(-batch.num_real_frames_B[row] // 2)
        alone = WindowBatch(
            batch.pixels_BFHWC[row : row + 1, :frames],
            *(value[row : row + 1] for value in (batch.num_real_frames_B, batch.seeds_B)),
            *(value[row : row + 1] for value in (batch.clip_ids_B, batch.texts_B)),
        )
        torch.testing.assert_close(
            together[row : row + 1], objective.compute_values(alone)["masked_loss"]
        )
    share = objective(batch, num_windows=12).loss
    torch.testing.assert_close(share, together.sum() / 12)


def test_masks_hide_a_share_of_the_real_units() -> None:
    masks = draw_unit_masks((3, 4, 5), (64, 10, 1), 49, 0.9)
    hidden = masks.is_hidden_BU.sum(dim=1).tolist()
    assert hidden == [3136 - 313, 490 - 49, 49 - 4]
    assert masks.is_visible_BN.sum(dim=1).tolist() == [313, 49, 4]
    assert not masks.is_hidden_BU[1, 490:].any() and not masks.is_real_BU[1, 490:].any()
    for row in range(3):
        visible = masks.visible_BN[row][masks.is_visible_BN[row]]
        assert torch.equal(visible, masks.is_shown[row].nonzero()[:, 0])
    # A window's mask is its own, whatever the others are.
    alone = draw_unit_masks((4,), (10,), 49, 0.9)
    assert torch.equal(alone.is_hidden_BU[0], masks.is_hidden_BU[1, :490])
    # One of two is hidden and one visible, whatever the share.
    for ratio in (0.01, 0.99):
        assert draw_unit_masks((3,), (1,), 2, ratio).is_hidden_BU.sum() == 1


def test_branches_are_dropped_by_depth_and_window() -> None:
    factors = draw_branch_factors(range(4000), 3, 0.5)
    shares = (factors == 0).float().mean(dim=(0, 2))
    torch.testing.assert_close(shares, torch.tensor([0, 0.25, 0.5]), atol=0.02, rtol=0)
    # The expectation of a branch stays what it was.
    torch.testing.assert_close(factors.mean(dim=(0, 2)), torch.ones(3), atol=0.03, rtol=0)
    assert torch.equal(factors[7:8], draw_branch_factors((7,), 3, 0.5))


@pytest.mark.usefixtures("float64")
def test_dropped_branches_depend_on_the_window_and_end_with_training() -> None:
    objective, batch = autoencoder(drop_path=0.5), windows((8, 8))
    kept = objective.eval().compute_values(batch)["masked_loss"]
    dropped = objective.train().compute_values(batch)["masked_loss"]
    assert (kept - dropped).abs().min() > 1e-5
    torch.testing.assert_close(objective.compute_values(batch)["masked_loss"], dropped)
    swapped = replace(batch, pixels_BFHWC=batch.pixels_BFHWC.flip(0), seeds_B=batch.seeds_B[::-1])
    torch.testing.assert_close(objective.compute_values(swapped)["masked_loss"], dropped.flip(0))


@pytest.mark.usefixtures("float64")
def test_recomputed_activations_give_the_same_gradient() -> None:
    gradients = []
    for recompute in (False, True):
        objective = autoencoder(drop_path=0.3).train()
        objective.model_config = objective.model_config.model_copy(
            update={"gradient_checkpointing": recompute}
        )
        objective(windows((8, 5)), 2).loss.backward()
        gradients.append([parameter.grad for parameter in objective.parameters()])
    assert all(gradient is not None for gradient in gradients[0])
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


def test_the_encoders_file_states_its_size_and_has_every_weight(tmp_path) -> None:
    encoder = autoencoder().encoder
    write_signhiera(encoder, tmp_path / "model.safetensors")
    loaded = load_signhiera(tmp_path / "model.safetensors", from_clip=False)
    assert loaded.geometry == HieraGeometry(8, 64, 4, 1, (1, 1, 2, 1))
    for name, value in encoder.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


@pytest.mark.parametrize(
    ("scratch", "text"),
    [
        ({**TINY, "size": 32}, "one mask unit of 32 pixels per frame; use at least 64"),
        ({"sise": 64}, "model.scratch.sise"),
        ({"size": 65}, "model.scratch "),
    ],
)
def test_sizes_that_cannot_be_used(scratch: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        find_geometry(PretrainedModelConfig(scratch=scratch))


def test_published_sizes() -> None:
    geometry = find_geometry(PretrainedModelConfig())
    config = MaskedAutoencodingConfig()
    with torch.device("meta"):
        objective = MaskedAutoencoder(SignHiera(geometry), config, PretrainedModelConfig())
    assert objective.decoder.decoder_pos_embed.shape == (1, 3136, 512)
    assert objective.decoder.decoder_pred.weight.shape == (3072, 512)
    heads = [tuple(head.weight.shape) for head in objective.decoder.multi_scale_fusion_heads]
    assert heads == [(768, 96, 1, 8, 8), (768, 192, 1, 4, 4), (768, 384, 1, 2, 2)]
