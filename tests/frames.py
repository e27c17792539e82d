"""Recipes that read the frames of little films."""

from pathlib import Path
from typing import Any

from corpus import tiny_recipe
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe

SIZE = 16
"""Side of a frame in pixels."""
SCRATCH = {
    "model_type": "dinov2",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "mlp_ratio": 2,
    "image_size": SIZE,
    "patch_size": 8,
}
"""A vision model for them."""


def frames_recipe(corpus: Path, root: Path, storage: str = "decoded", **changes: Any) -> Recipe:
    """The tiny recipe on the frames of a `vision.film_corpus`; `changes` are sections.

    Its vision model is trained from scratch, unless `model` has another `vision`.
    """
    names = [name for name in ("train", "validation", "test") if (corpus / f"{name}.tsv").is_file()]
    source = {"kind": "video_tsv", **{name: str(corpus / f"{name}.tsv") for name in names}}
    source |= changes.pop("source", {})
    features = {"kind": "frames", "size": SIZE, "storage": storage, **changes.pop("features", {})}
    vision = {"scratch": SCRATCH, "windows": {"target_fps": features.get("target_fps", 25.0)}}
    model = {"encoder": {"standardize": False}, "vision": vision, **changes.pop("model", {})}
    base = tiny_recipe(corpus, root, **changes).model_dump(mode="json")
    base |= {"source": source, "features": features, "model": {**base["model"], **model}}
    return validate_config(Recipe, base, "the recipe of frames")
