"""Tiny corpora of texts, signs in SignWriting and images, and recipes that train on them."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from corpus import tiny_recipe
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe

SIGNS = (
    "M518x529S14c20481x471S27106503x489",
    "AS10021S10029M521x576S10021478x555S10029457x555",
    "M533x518S2ff00482x483S15a10521x484S2b700514x454",
    "S38800464x496",
)
"""Signs in FSW: plain, with the order of its symbols, of a head, and a full stop."""
WORDS = ("rain", "in", "the", "north", "sun", "south", "wind", "and")


def texts(count: int) -> list[str]:
    """Different texts of two to five words."""
    return [
        " ".join(WORDS[(number * 3 + k) % len(WORDS)] for k in range(2 + number % 4))
        for number in range(count)
    ]


def signed_texts(count: int) -> list[str]:
    """Different sequences of one to three signs."""
    return [
        " ".join(SIGNS[(number + k) % len(SIGNS)] for k in range(1 + number % 3))
        for number in range(count)
    ]


def image_names(folder: Path, count: int) -> list[str]:
    """Names of images of different sizes and colors, which it writes."""
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.integers(0, 256, (20 + number, 30, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return [f"{number}.png" for number in range(count)]


def write_tables(folder: Path, signals: list[str]) -> dict[str, str]:
    """Write the last two signals as validation and all others as train; split → table."""
    header = "signal\tencoder_prompt\tdecoder_prompt\toutput"
    rows = [
        f"{signal}\t__ase__\t__en__\tThis is sentence {number % 4}."
        for number, signal in enumerate(signals)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    for split, own in (("train", rows[:-2]), ("validation", rows[-2:])):
        (folder / f"{split}.tsv").write_text("\n".join([header, *own, ""]), encoding="utf-8")
    return {split: str(folder / f"{split}.tsv") for split in ("train", "validation")}


def written_recipe(folder: Path, kind: str, signals: list[str], **changes: Any) -> Recipe:
    """A recipe of a single step on these signals; `changes` are sections of the tiny recipe."""
    plain = tiny_recipe(folder, folder / "stores").model_dump(mode="json")
    plain["source"] = {"kind": kind, **write_tables(folder, signals)}
    plain["features"] = {"kind": "text"}
    plain["model"]["encoder"] = {"kind": "tokens"}
    plain["training"] |= {"max_steps": 1, "eval_steps": 1, "logging_steps": 1}
    for section, values in changes.items():
        plain[section] = values if section == "features" else {**plain[section], **values}
    return validate_config(Recipe, plain, "the tiny recipe of written inputs")
