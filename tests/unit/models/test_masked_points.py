"""Every encoder reads points with a mask: one more channel of its own point, never a coordinate."""

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from kinesweep.config.embedding_recipe import EmbeddingRecipe
from kinesweep.config.recipe.model.encoders import EncoderConfig
from kinesweep.core.skeleton.skeleton import SMPL_22
from kinesweep.models.encoders import build_encoder
from kinesweep.models.encoders.graph_encoder import GraphEncoder
from kinesweep.models.encoders.packed_frames import FramePacker

T, V, C, OUT = 9, SMPL_22.num_points, 3, 5
ENCODERS: list[dict[str, Any]] = [
    {"kind": "linear"},
    {"kind": "linear", "standardize": True},
    {"kind": "mlp", "hidden": (8,)},
    {"kind": "cnn"},
    {"kind": "stgcn", "channels": 4, "blocks": 2, "kernel": 3},
    {"kind": "stagcn", "features": (4,), "attention": (8,), "perception": (5,), "head": 7},
]


def points(lost: bool) -> torch.Tensor:
    torch.manual_seed(0)
    x_BTVC = torch.cat([torch.randn(1, T, V, C), torch.ones(1, T, V, 1)], dim=3)
    if lost:
        x_BTVC[0, 4, 7] = 0
    return x_BTVC


@pytest.mark.parametrize("values", ENCODERS, ids=lambda values: "-".join(map(str, values))[:40])
def test_encoders_take_the_width_and_see_the_mask(values: dict[str, Any]) -> None:
    config: Any = TypeAdapter(EncoderConfig).validate_python(values)
    encoder: Any = build_encoder(config, V * (C + 1), OUT, SMPL_22).eval()
    x_BTD, mask_BT = points(False).flatten(2), torch.ones(1, T, dtype=torch.bool)
    forgotten = x_BTD.clone().unflatten(2, (V, C + 1))
    forgotten[0, 4, 7, C] = 0  # the mask alone
    first, _ = encoder(x_BTD, mask_BT)
    second, _ = encoder(forgotten.flatten(2), mask_BT)
    assert first.shape == second.shape and torch.isfinite(first).all()
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("values", ENCODERS[4:], ids=["stgcn", "stagcn"])
def test_graph_encoders_keep_coordinates_and_mask_of_a_point_together(
    values: dict[str, Any],
) -> None:
    config: Any = TypeAdapter(EncoderConfig).validate_python({**values, "standardize": False})
    encoder = build_encoder(config, V * (C + 1), OUT, SMPL_22)
    assert isinstance(encoder, GraphEncoder)
    x_BTVC = points(True)
    x_NVC = encoder.preprocess(x_BTVC.flatten(2), FramePacker(torch.ones(1, T, dtype=torch.bool)))
    torch.testing.assert_close(x_NVC[:, :, : C + 1], x_BTVC[0])


def test_embedders_refuse_it_when_the_recipe_is_read() -> None:
    values = {
        "name": "e",
        "source": {"kind": "skeletons", "train": "a.tsv", "fps": 25},
        "features": {"kind": "skeleton", "missing": "mask"},
        "embedding": {"kind": "carl"},
    }
    with pytest.raises(ValidationError, match="an embedder reads coordinates only"):
        EmbeddingRecipe.model_validate(values)
    values["features"] = {"kind": "skeleton", "missing": "interpolate"}
    EmbeddingRecipe.model_validate(values)
