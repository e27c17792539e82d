"""One movement by many people: other speeds, bodies, views, and legs that tremble; made by code.

Two arms go once along their arcs. How far a frame is in it (0 to 1) is known, which no clip tells.
Shapes: T frames, J points.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.embedding_recipe import EmbeddingRecipe
from kinesweep.config.loading import validate_config
from kinesweep.store import Store
from kinesweep.store.extraction.build import extract_locally
from skeletons import write_rows

POINTS = 22
ARMS = (16, 17, 18, 19, 20, 21)
"""Shoulders, elbows and wrists of SMPL."""
COUNTS = {"train": 96, "validation": 12}


def movement(rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """A clip (T, 22, 3) and how far each frame is in the movement (T,)."""
    frames = int(rng.integers(24, 60))
    speed = rng.uniform(0.6, 1.6)
    phase_T = np.linspace(0, 1, frames) ** speed
    body = np.random.default_rng(7).normal(0, 0.5, (POINTS, 3))  # of all people alike
    body += rng.normal(0, 0.15, body.shape)
    x_TJC = np.repeat(body[None], frames, axis=0)
    for number, joint in enumerate(ARMS):
        angle_T = np.pi * (phase_T + number / 12)
        arc_TC = np.stack([np.cos(angle_T), np.sin(angle_T), 0.3 * np.cos(2 * angle_T)], axis=1)
        x_TJC[:, joint] += (0.3 + 0.1 * number) * arc_TC
    view = np.deg2rad(rng.uniform(-40, 40))
    turn = np.array([[np.cos(view), np.sin(view)], [-np.sin(view), np.cos(view)]])
    x_TJC[..., :2] = x_TJC[..., :2] @ turn
    x_TJC *= rng.uniform(0.7, 1.4)
    x_TJC += rng.normal(0, 0.02, x_TJC.shape)
    x_TJC[:, : ARMS[0]] += rng.normal(0, 0.2, x_TJC[:, : ARMS[0]].shape)
    x_TJC[:, 0] = 0  # the root
    return x_TJC.astype(np.float32), phase_T


def write_movements(folder: Path) -> dict[str, list[NDArray[np.float64]]]:
    """A corpus of one kind of motion; returns split → how far the frames of its clips are."""
    folder.mkdir(parents=True, exist_ok=True)
    phases: dict[str, list[NDArray[np.float64]]] = {}
    for split, count in COUNTS.items():
        rng = np.random.default_rng(len(split))
        clips = [movement(rng) for _ in range(count)]
        offsets = np.cumsum([0, *(len(x_TJC) for x_TJC, _ in clips)])
        np.savez(
            folder / f"{split}.npz", data=np.concatenate([x for x, _ in clips]), offsets=offsets
        )
        rows = [f"{split}-{n} {n} Well_done. arms" for n in range(count)]
        write_rows(folder / f"{split}.tsv", "id index text gloss", rows)
        phases[split] = [phase_T for _, phase_T in clips]
    return phases


def movements_recipe(corpus: Path, root: Path, **changes: Any) -> EmbeddingRecipe:
    """A recipe on them; `changes` are sections, laid over those here key by key."""
    plain: dict[str, Any] = {
        "name": "movements",
        "source": {
            "kind": "skeletons",
            "fps": 20,
            **{split: str(corpus / f"{split}.tsv") for split in COUNTS},
        },
        "features": {"kind": "skeleton", "centre": "none"},
        "store": {"root": str(root), "dtype": "float32"},
        "batch": {"batch_size": 16, "frames": 24},
        "encoder": {"kind": "mlp", "hidden": [64], "dropout": 0.0, "activation": "gelu"},
        "embedding": {"kind": "tcc", "hidden": 32, "width": 16},
        "training": {"learning_rate": 3e-3, "max_steps": 12, "eval_steps": 4, "seed": 5},
        "tracking": "none",
    }
    for section, values in changes.items():
        plain[section] = (
            {**plain.get(section, {}), **values} if isinstance(values, dict) else values
        )
    return validate_config(EmbeddingRecipe, plain, "the recipe of movements")


def movements_store(recipe: EmbeddingRecipe) -> Store:
    """Its features, extracted in this process."""
    return extract_locally(recipe.corpus_recipe)
