"""Context helps where it must: a pronoun is signed, and the sentence names whom it stands for."""

from pathlib import Path

import numpy as np
import pytest

from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.loop.run import RunSpec, train_run
from shards import write_sentences

PEOPLE = ["baker", "teacher", "sailor", "doctor", "farmer", "painter"]
DOES = ["likes", "sees", "buys", "paints", "carries", "finds"]
THINGS = ["bread", "boats", "books", "flowers", "horses", "lamps"]
PRONOUN = "THEY"


def documents(count: int, seed: int) -> dict[str, list[tuple[str, list[str]]]]:
    """Video → clips, each a text and what is signed; from the second on it signs a pronoun."""
    rng = np.random.default_rng(seed)
    made = {}
    for number in range(count):
        who = str(rng.choice(PEOPLE))
        said = [(str(rng.choice(DOES)), str(rng.choice(THINGS))) for _ in range(4)]
        made[f"video{seed}_{number}"] = [
            (f"The {who} {does} {thing}.", [PRONOUN if place else who, does, thing])
            for place, (does, thing) in enumerate(said)
        ]
    return made


def recipe_of(source: dict[str, object], window: int) -> Recipe:
    llama = {"architecture": "llama", "hidden_size": 64, "intermediate_size": 128}
    llama |= {"num_hidden_layers": 2, "num_attention_heads": 4}
    plain = {
        "name": "pronouns",
        "source": source,
        "features": {"kind": "streams"},
        "batch": {"batch_size": 32},
        "context": {"window": window},
        "model": {
            "encoder": {"kind": "linear", "dropout": 0.0},
            "backbone": {"kind": "causal", "scratch": llama},
            "tokenizer": {"kind": "train", "algorithm": "word", "size": 64},
        },
        "training": {
            "learning_rate": 3e-3,
            "lr_scheduler_type": "cosine",
            "warmup_steps": 30,
            "max_steps": 250,
            "eval_steps": 250,
            "seed": 1,
        },
        "generation": {"num_beams": 1, "max_new_tokens": 12},
        "tracking": "none",
    }
    return validate_config(Recipe, plain, "pronouns")


@pytest.mark.slow
def test_pronouns_are_resolved(tmp_path: Path) -> None:
    source = write_sentences(tmp_path / "h5", {"train": documents(200, 0), "dev": documents(20, 1)})
    bleu = {}
    for window in (0, 2):
        recipe = recipe_of(source, window)
        store = extract_locally(recipe, root=tmp_path / "stores")
        spec = RunSpec(recipe, store.folder, tmp_path / f"window{window}")
        bleu[window] = train_run(spec, NullRunLogger(), lambda _: True).scores["bleu"]
    print(f"BLEU without context {bleu[0]:.1f}, with two of its own sentences {bleu[2]:.1f}")
    assert bleu[2] >= bleu[0] + 10
    assert bleu[2] > 90
