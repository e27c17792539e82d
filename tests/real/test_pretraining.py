"""Real How2Sign films: masked autoencoding halves its loss, and its encoder extracts features.

The films have three source videos and two signers, so this shows that the loop learns, not how well
it generalizes. Two films are held out. The short form takes 75 steps, a few seconds; the long form
300 steps with the published mask ratio, killed and resumed, and on two workers.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from fresh_process import FreshProcess
from kinesweep.config.loading import load_config, validate_config
from kinesweep.config.pretraining_recipe import PretrainingRecipe
from kinesweep.config.recipe import Recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.features.encoders.signhiera_network import load_signhiera
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.pretraining.components import build_pretraining_components
from kinesweep.training.pretraining.run import PretrainingSpec, pretrain_run
from kinesweep.training.run_records.metrics import read_metrics
from kinesweep.training.run_records.result import RunResult
from ranks import run_ranks

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("KINESWEEP_REAL_DATA", ROOT.parent / "shared" / "data")).absolute()
FILMS = DATA / "how2sign-clips" / "video"
HELD_OUT = ("_15CDIexNDM_9-5-rgb_front", "_5LwGjy_bY8_5-5-rgb_front")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FILMS.is_dir(), reason=f"no real data in {DATA}"),
]
PRETRAIN = """
import json, os, signal, sys
from pathlib import Path
from kinesweep.config.pretraining_recipe import PretrainingRecipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.training.pretraining.run import PretrainingSpec, pretrain_run
recipe = PretrainingRecipe.model_validate_json(Path(sys.argv[1]).read_text())
spec = PretrainingSpec(recipe, Path(sys.argv[2]), Path(sys.argv[3]))
kill_at = int(sys.argv[4])
def report(measured):
    if measured["step"] == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return True
print(json.dumps(pretrain_run(spec, NullRunLogger(), report).status))
"""


def film_recipe(folder: Path, **changes: dict[str, Any]) -> PretrainingRecipe:
    """The tiny recipe on the films, without texts."""
    films = sorted(FILMS.glob("*.mp4"))
    for split in ("train", "validation"):
        chosen = [film for film in films if (film.stem in HELD_OUT) == (split == "validation")]
        lines = ["signal", *(film.name for film in chosen)]
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    plain = load_config(
        PretrainingRecipe, ROOT / "jobs" / "recipes" / "ssvp_mae_tiny.yaml"
    ).model_dump(mode="json")
    tables = {split: str(folder / f"{split}.tsv") for split in ("train", "validation")}
    plain["source"] |= {**tables, "root": str(FILMS)}
    plain["store"] |= {"root": str(folder / "stores")}
    for name, section in changes.items():
        plain[name] |= section
    return validate_config(PretrainingRecipe, plain, "the recipe of films")


def run(recipe: PretrainingRecipe, folder: Path) -> RunResult:
    spec = PretrainingSpec(recipe, extract_locally(recipe.corpus_recipe).folder, folder)
    return pretrain_run(spec, NullRunLogger(), lambda _: True)


def initial_loss(recipe: PretrainingRecipe) -> float:
    """The masked loss of the held-out films before the first step."""
    store = extract_locally(recipe.corpus_recipe)
    components = build_pretraining_components(recipe, store)
    return components.evaluator.evaluate(components.objective)[0]["masked_loss"]


def check_extraction(recipe: PretrainingRecipe, result: RunResult, folder: Path) -> None:
    """Every key of the weights is one of `signhiera`, and its features differ over time."""
    checkpoint = result.folder / "best" / "model.safetensors"
    with safe_open(checkpoint, "pt") as file:
        names = set(file.keys())
    assert names == set(load_signhiera(checkpoint, from_clip=False).state_dict())
    base = load_config(Recipe, ROOT / "jobs" / "recipes" / "features_tiny.yaml")
    plain = base.model_dump(mode="json")
    plain["source"] = recipe.source.model_dump(mode="json")
    encoder = {"kind": "signhiera", "checkpoint": str(checkpoint)}
    windows = {"num_frames": 16, "sampling_rate": 2, "target_fps": 25}
    plain["features"] = {"kind": "video", "encoder": encoder, "windows": windows}
    plain["store"] = {"root": str(folder / "features")}
    store = extract_locally(validate_config(Recipe, plain, "the recipe of features"))
    for record in store.get_records("validation"):
        x_TD = np.asarray(store.get_features(record)["video"], np.float32)
        assert x_TD.shape[1] == 128 and np.isfinite(x_TD).all()
        assert x_TD.std(axis=0).mean() > 1e-3


def test_the_masked_loss_of_films_halves(tmp_path: Path) -> None:
    recipe = film_recipe(tmp_path, training={"max_steps": 75, "eval_steps": 75})
    result = run(recipe, tmp_path / "run")
    assert result.scores["masked_loss"] < 0.5 * initial_loss(recipe)
    check_extraction(recipe, result, tmp_path)


@pytest.mark.proof
def test_the_published_ratio_kills_and_workers(tmp_path: Path) -> None:
    augmentation = {"rand_augment": {"num_ops": 4, "magnitude": 7}, "horizontal_flip": 0.5}
    changes: dict[str, dict[str, Any]] = {
        "objective": {"mask_ratio": 0.9},
        "batch": {"augmentation": augmentation},
        "model": {"drop_path": 0.1},
    }
    recipe = film_recipe(tmp_path, **changes)
    result = run(recipe, tmp_path / "run")
    assert result.scores["masked_loss"] < 0.5 * initial_loss(recipe)
    check_extraction(recipe, result, tmp_path)
    store = extract_locally(recipe.corpus_recipe)
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    arguments = [str(tmp_path / "recipe.json"), str(store.folder), str(tmp_path / "killed")]
    assert FreshProcess(PRETRAIN, [*arguments, "200"]).wait().returncode == -9
    run(recipe, tmp_path / "killed")
    for name in ("metrics.jsonl", "best/model.safetensors", "best/objective.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()
    changes["batch"]["windows"] = recipe.batch.windows // 2
    shared = film_recipe(tmp_path, **changes, resources={"workers": 2})
    (tmp_path / "recipe.json").write_text(shared.model_dump_json())
    arguments[2] = str(tmp_path / "two")
    assert run_ranks(PRETRAIN, [*arguments, "0"], 2) == ["finished"] * 2
    for name, tolerance in (("loss", 1e-2), ("masked_loss", 1e-2)):
        ours, theirs = (
            [row[name] for row in read_metrics(place / "metrics.jsonl") if name in row]
            for place in (tmp_path / "two", tmp_path / "run")
        )
        np.testing.assert_allclose(ours, theirs, rtol=tolerance)
