"""Texts, tokens of SignWriting, drawn signs and images are learnt by heart, each by its model."""

from pathlib import Path
from typing import Any

import pytest

from corpus import tiny_store
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.training.loop.run import RunSpec, train_run
from written import SIGNS, WORDS, image_names, written_recipe

COUNT = 8
SCRATCH = {
    "model_type": "clip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 64,
    "patch_size": 16,
}
DRAWN_MODEL = {
    "encoder": {"kind": "linear", "standardize": False},
    "vision": {"kind": "hf", "scratch": SCRATCH, "windows": {"num_frames": 1}, "batch": 64},
}
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "texts": ("text_tsv", {"kind": "text"}, {}),
    "signs as tokens": ("signwriting_tsv", {"kind": "text", "tokenizer": {"kind": "fsw"}}, {}),
    "signs as drawings": ("signwriting_tsv", {"kind": "images", "size": 64}, DRAWN_MODEL),
    "images": ("image_tsv", {"kind": "images", "size": 64, "fit": "pad"}, DRAWN_MODEL),
}


def signals_of(kind: str, folder: Path) -> list[str]:
    """Different inputs, the last two of which equal the first two."""
    if kind == "image_tsv":
        own = image_names(folder, COUNT)
    else:
        parts = WORDS if kind == "text_tsv" else SIGNS
        own = [
            " ".join([parts[n % len(parts)], *[parts[(n // len(parts)) % 2]] * (1 + n % 3)])
            for n in range(COUNT)
        ]
    return [*own, *own[:2]]


@pytest.mark.proof
@pytest.mark.parametrize("case", CASES)
def test_inputs_are_learnt_by_heart(tmp_path: Path, case: str) -> None:
    kind, features, model = CASES[case]
    signals = signals_of(kind, tmp_path)
    training = {
        "max_steps": 400,
        "eval_steps": 100,
        "learning_rate": 2e-3,
        "lr_scheduler_type": "constant",
        "label_smoothing_factor": 0.0,
    }
    plain = written_recipe(
        tmp_path, kind, signals, features=features, model=model, training=training
    ).model_dump(mode="json")
    plain["model"]["backbone"]["scratch"] |= {"dropout": 0.0, "d_model": 32}
    recipe = validate_config(Recipe, plain, "test")
    store = tiny_store(recipe)
    spec = RunSpec(recipe, store.folder, tmp_path / "run")
    result = train_run(spec, NullRunLogger(), lambda _: True)
    print(case, result.scores)
    assert result.scores["bleu"] >= 90
