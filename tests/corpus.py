"""A tiny corpus, its store and a recipe that trains on it in seconds; made by code."""

import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.sources.synthetic import write_sample_corpus
from kinesweep.store import Store
from kinesweep.store.extraction.build import extract_locally


def tiny_recipe(corpus: Path, root: Path, **changes: Any) -> Recipe:
    """A recipe on a sample corpus; `changes` are sections, laid over those here key by key."""
    plain: dict[str, Any] = {
        "name": "tiny",
        "source": {
            "kind": "pose_tsv",
            **{split: str(corpus / f"{split}.tsv") for split in ("train", "validation", "test")},
        },
        "features": {"stride": 2},
        "store": {"root": str(root)},
        "batch": {"batch_size": 8},
        "model": {
            "encoder": {"kind": "linear", "dropout": 0.1},
            "backbone": {
                "kind": "seq2seq",
                "scratch": {
                    "architecture": "m2m_100",
                    "d_model": 16,
                    "encoder_layers": 1,
                    "decoder_layers": 1,
                    "encoder_attention_heads": 2,
                    "decoder_attention_heads": 2,
                    "encoder_ffn_dim": 32,
                    "decoder_ffn_dim": 32,
                    "dropout": 0.1,
                    "encoder_layerdrop": 0.0,
                    "decoder_layerdrop": 0.0,
                },
            },
            "tokenizer": {"kind": "train", "algorithm": "word", "size": 256},
        },
        "training": {
            "learning_rate": 1e-3,
            "lr_scheduler_type": "linear",
            "max_steps": 12,
            "eval_steps": 4,
            "logging_steps": 2,
            "label_smoothing_factor": 0.1,
            "seed": 5,
        },
        "generation": {"num_beams": 2, "max_new_tokens": 12},
        "tracking": "none",
    }
    for section, values in changes.items():
        plain[section] = (
            {**plain.get(section, {}), **values} if isinstance(values, dict) else values
        )
    return validate_config(Recipe, plain, "the tiny recipe")


def tiny_corpus(folder: Path, clips: int = 48) -> Path:
    """A sample corpus of few clips."""
    return Path(shutil.copytree(Path(_made(clips).name, "corpus"), folder / "corpus"))


@cache
def _made(clips: int) -> "tempfile.TemporaryDirectory[str]":
    """Writes a corpus to copy from; a copy takes a hundredth of the time. Gone with the process."""
    folder: tempfile.TemporaryDirectory[str] = tempfile.TemporaryDirectory()
    write_sample_corpus(Path(folder.name, "corpus"), clips=clips, workers=1)
    return folder


def tiny_store(recipe: Recipe) -> Store:
    """Its features, extracted in this process."""
    return extract_locally(recipe)
