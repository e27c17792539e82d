"""A tiny corpus of films with poses, and recipes with several parts of features; made by code."""

from pathlib import Path
from typing import Any

from corpus import tiny_recipe
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe
from vision import film_corpus, follow_block, vision_model

POSE = {"name": "pose", "kind": "pose", "points": "all", "normalize": "none", "hide_legs": False}


def films_with_poses(folder: Path, **counts: int) -> Path:
    """The films of `film_corpus`, and a `.pose` file for each below `poses`."""
    film_corpus(folder, **counts)
    for film in (folder / "films").glob("*.mp4"):
        frames = 10 + (int(film.stem) * 17) % 50
        follow_block(folder / "poses" / "films" / f"{film.stem}.pose", frames)
    return folder


def video_part(name: str, model: Path, **changes: Any) -> dict[str, Any]:
    """A part of the vectors of a tiny image or video model, made if it does not exist."""
    kind = "videomae" if "mae" in model.name else "dinov2"
    if not model.is_dir():
        vision_model(model, kind, width=8 if kind == "videomae" else 16)
    return {
        "name": name,
        "kind": "video",
        "encoder": {"kind": "hf_vision", "pretrained": str(model)},
        "windows": {"num_frames": 16, "stride": 8 if kind == "videomae" else 16},
        "batch": 3,
        **changes,
    }


def parts_recipe(corpus: Path, root: Path, features: Any, **changes: Any) -> Recipe:
    """The tiny recipe on films with poses; `features` are a list of parts, or a mapping."""
    splits = [s for s in ("train", "validation", "test") if (corpus / f"{s}.tsv").is_file()]
    source = {
        "kind": "video_tsv",
        "poses": str(corpus / "poses"),
        **{split: str(corpus / f"{split}.tsv") for split in splits},
        **changes.pop("source", {}),
    }
    plain = tiny_recipe(corpus, root, **changes).model_dump(mode="json")
    return validate_config(Recipe, plain | {"source": source, "features": features}, "parts")
