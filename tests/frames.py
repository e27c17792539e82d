"""Recipes that read the frames of little films."""

from pathlib import Path
from typing import Any

from corpus import tiny_recipe
from kinesweep.config.recipe import Recipe

SIZE = 16
"""Side of a frame in pixels."""


def frames_recipe(corpus: Path, root: Path, storage: str = "decoded", **changes: Any) -> Recipe:
    """The tiny recipe on the frames of a `vision.film_corpus`; `changes` are sections."""
    names = [name for name in ("train", "validation", "test") if (corpus / f"{name}.tsv").is_file()]
    source = {"kind": "video_tsv", **{name: str(corpus / f"{name}.tsv") for name in names}}
    source |= changes.pop("source", {})
    features = {"kind": "frames", "size": SIZE, "storage": storage, **changes.pop("features", {})}
    base = tiny_recipe(corpus, root, **changes).model_dump(mode="json")
    return Recipe.model_validate(base | {"source": source, "features": features})
