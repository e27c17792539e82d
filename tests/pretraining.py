"""Pretraining recipes on little films."""

from pathlib import Path
from typing import Any

from kinesweep.config.loading import validate_config
from kinesweep.config.pretraining_recipe import PretrainingRecipe

SECTIONS: dict[str, dict[str, Any]] = {
    "features": {"kind": "frames", "size": 64},
    "batch": {"windows": 4, "repeats": 2, "num_frames": 8, "sampling_rate": 2},
    "model": {
        "scratch": {
            **{"max_frames": 8, "size": 64, "first_stage_width": 4},
            **{"stage_depths": [1, 1, 1, 1]},
        },
    },
    "objective": {"mask_ratio": 0.75, "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2},
    "training": {"max_steps": 6, "eval_steps": 2, "logging_steps": 1, "learning_rate": 1e-3},
}


def pretraining_values(corpus: Path, root: Path, **changes: dict[str, Any]) -> dict[str, Any]:
    """Plain values of a recipe on the films of a `vision.film_corpus`; `changes` are sections."""
    source = {"kind": "video_tsv"}
    source |= {name: str(corpus / f"{name}.tsv") for name in ("train", "validation")}
    sections = {key: {**value, **changes.pop(key, {})} for key, value in SECTIONS.items()}
    return {
        **{"name": "tiny_mae", "source": source, "store": {"root": str(root)}},
        **{"tracking": "none", **sections, **changes},
    }


def pretraining_recipe(corpus: Path, root: Path, **changes: dict[str, Any]) -> PretrainingRecipe:
    """That recipe, checked."""
    values = pretraining_values(corpus, root, **changes)
    return validate_config(PretrainingRecipe, values, "the recipe")
