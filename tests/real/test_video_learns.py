"""Real How2Sign films: a vision model learns with the translator, from the frames.

The short form takes the four shortest films, 110 frames; the long form all eight, 434 frames, on
one worker and two, killed and resumed.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel
from typer.testing import CliRunner

from fresh_process import FreshProcess
from kinesweep.checkpoints.model_dir_files import format_recipe_yaml
from kinesweep.cli import app
from kinesweep.config.loading import load_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.core.seeds import seed_everything
from kinesweep.data.train_dataset import TrainDataset
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.export import export_bundle, verify_bundle
from kinesweep.models import Translator
from kinesweep.store import Store
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.loop.components import build_components
from kinesweep.training.loop.run import RunResult, RunSpec, train_run
from kinesweep.training.run_records.metrics import read_metrics
from ranks import run_ranks

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("KINESWEEP_REAL_DATA", ROOT.parent / "shared" / "data")).absolute()
FILMS = DATA / "how2sign-clips" / "video"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FILMS.is_dir(), reason=f"no real data in {DATA}"),
]
SIZE, WIDTH = 48, 48
TRAIN = """
from kinesweep.config.loading import load_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.training.loop.run import RunSpec, train_run
recipe = load_config(Recipe, Path(sys.argv[1]))
spec = RunSpec(recipe, Path(sys.argv[2]), Path(sys.argv[3]))
print(json.dumps(train_run(spec, NullRunLogger(), lambda _: True).to_json()))
"""


def clip_tower(folder: Path) -> Path:
    """A CLIP vision tower of two layers with random weights, saved as a pretrained one."""
    torch.manual_seed(5)
    shape = {"hidden_size": WIDTH, "intermediate_size": 96, "num_hidden_layers": 2}
    shape |= {"num_attention_heads": 4, "image_size": SIZE, "patch_size": 16}
    CLIPVisionModel(CLIPVisionConfig(**shape)).save_pretrained(folder)
    said = {"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28], "size": SIZE}
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    return folder


def film_table(folder: Path, count: int) -> dict[str, str]:
    """The shortest films, in train and in validation, with the sentences of their manifest."""
    lines = (DATA / "how2sign-clips" / "manifest.tsv").read_text(encoding="utf-8").splitlines()
    head = lines[0].split("\t")
    rows = [dict(zip(head, line.split("\t"), strict=True)) for line in lines[1:]]
    filmed = [row for row in rows if (FILMS / f"{row['id']}.mp4").is_file()]
    filmed.sort(key=lambda row: (FILMS / f"{row['id']}.mp4").stat().st_size)
    for split in ("train", "validation"):
        table = ["id\tsignal\toutput"]
        table += [
            f"{split}_{row['id']}\tvideo/{row['id']}.mp4\t{row['text']}" for row in filmed[:count]
        ]
        (folder / f"{split}.tsv").write_text("\n".join(table) + "\n", encoding="utf-8")
    return {split: str(folder / f"{split}.tsv") for split in ("train", "validation")}


def make_recipe(folder: Path, films: int, vision: dict[str, Any] | None = None) -> Recipe:
    """The recipe of frames; without `vision`, that of extracted vectors."""
    tower = folder / "clip" if (folder / "clip").exists() else clip_tower(folder / "clip")
    path = ROOT / "jobs" / "recipes" / "ssvp_t5_tiny.yaml"
    plain = load_config(Recipe, path).model_dump(mode="json")
    windows = {"num_frames": 16, "target_fps": 24}
    features: dict[str, Any] = {"kind": "frames", "size": SIZE, "target_fps": 24}
    if vision is None:
        encoder = {"kind": "hf_vision", "pretrained": str(tower)}
        features = {"kind": "video", "encoder": encoder, "windows": windows}
    else:
        plain["model"]["vision"] = {"pretrained": str(tower), "windows": windows, **vision}
    plain |= {
        "source": {"kind": "video_tsv", **film_table(folder, films), "root": str(FILMS.parent)},
        "features": features,
        "store": {"root": str(folder / "stores"), "dtype": "float32"},
        "batch": {"batch_size": 8},
    }
    plain["model"]["encoder"] |= {"standardize": False, "norm_in": True}
    plain["model"]["backbone"]["scratch"] |= {"dropout_rate": 0.0}
    plain["training"] |= {"learning_rate": 3e-3, "label_smoothing_factor": 0.0}
    if films < 8:
        plain["training"] |= {"max_steps": 160, "eval_steps": 80}
    return Recipe.model_validate(plain)


def train(recipe: Recipe, store: Store, folder: Path) -> RunResult:
    return train_run(RunSpec(recipe, store.folder, folder), NullRunLogger(), lambda _: True)


def compute_vectors(model: Translator, store: Store, clip: int) -> np.ndarray:  # type: ignore[type-arg]
    """The vectors of the vision model for a training clip."""
    assert model.vision is not None
    x_TP = torch.from_numpy(store.get_features(store.get_records("train")[clip])["video"].copy())
    with torch.no_grad():
        return model.vision(x_TP[None], torch.ones(1, len(x_TP), dtype=torch.bool))[0][0].numpy()


def check_frozen_equals_extracted(folder: Path, films: int) -> Store:
    """Compare the frozen vision model with extraction; return the store of frames."""
    recipe = make_recipe(folder, films, {"freeze": True})
    store, extracted = extract_locally(recipe), extract_locally(make_recipe(folder, films))
    assert store.schema.streams["video"].frame_size == SIZE
    model = build_components(recipe, store).model
    for clip, record in enumerate(extracted.get_records("train")):
        expected_TD = extracted.get_features(record)["video"]
        found_TD = compute_vectors(model.eval(), store, clip)
        np.testing.assert_allclose(found_TD, expected_TD, atol=1e-5, rtol=0)
        assert expected_TD.std() > 0.05
    return store


def check_gradients(recipe: Recipe, store: Store) -> None:
    """Every weight of the vision model that is trained gets a gradient that is not zero."""
    parts = build_components(recipe, store)
    data = TrainDataset(store, parts.tokenizer, recipe.effective_batch, 1)
    batch = next(iter(data))
    parts.model.train()(**batch.get_forward_kwargs()).loss.backward()
    trained = [p for p in parts.model.vision.parameters() if p.requires_grad]
    assert len(trained) > 30 and all(p.grad is not None and p.grad.any() for p in trained)


@pytest.mark.parametrize("films", [4, pytest.param(8, marks=pytest.mark.proof)])
def test_a_vision_model_learns_films_by_heart(tmp_path: Path, films: int) -> None:
    torch.set_num_threads(1)
    store = check_frozen_equals_extracted(tmp_path, films)
    recipe = make_recipe(tmp_path, films, {"learning_rate": 1e-3})
    check_gradients(recipe, store)
    seed_everything(1)
    result = train(recipe, store, tmp_path / "run")
    assert result.scores["bleu"] >= 90
    bundle = export_bundle(result.folder, tmp_path / "bundle", store)
    assert verify_bundle(bundle, store.folder, result.folder) == films
    # The bundle stands alone: the vision model that it began with is gone.
    for path in (tmp_path / "clip").iterdir():
        path.unlink()
    lines = {
        p.clip_id: p.hypothesis
        for p in read_predictions(result.folder / "predictions" / "validation.tsv")
    }
    clip = store.get_records("validation")[films - 1].clip
    told = CliRunner().invoke(app, ["translate", str(bundle), str(FILMS.parent / clip.media)])
    assert told.exit_code == 0, told.output
    assert told.stdout.rstrip("\n").split("\t")[1] == lines[clip.id]


@pytest.mark.proof
def test_killed_runs_and_two_workers_learn_the_same(tmp_path: Path) -> None:
    """A process killed after its first checkpoint resumes to the bit; two ranks equal one."""
    vision = {"learning_rate": 1e-3, "gradient_checkpointing": True}
    recipe = make_recipe(tmp_path, 8, vision)
    plain = recipe.model_dump(mode="json")
    plain["training"] |= {"max_steps": 60, "eval_steps": 20}
    recipe = Recipe.model_validate(plain)
    store = extract_locally(recipe)
    whole = train(recipe, store, tmp_path / "whole")
    path = tmp_path / "recipe.yaml"
    path.write_text(format_recipe_yaml(recipe))
    arguments = [str(path), str(store.folder), str(tmp_path / "killed")]
    begin = "import json, sys\nfrom pathlib import Path\n"
    process = FreshProcess(begin + TRAIN, arguments)
    checkpoints = tmp_path / "killed" / "checkpoints"
    while not list(checkpoints.glob("*/manifest.json")) and process.is_alive():
        time.sleep(0.05)
    process.kill()
    assert not (tmp_path / "killed" / "result.json").exists()
    resumed = train(recipe, store, tmp_path / "killed")
    assert resumed.weights_sha256 == whole.weights_sha256 != ""
    plain["batch"] = {"batch_size": 4}
    losses = []
    for name, workers in (("one", 1), ("two", 2)):
        plain["training"] |= {"gradient_accumulation_steps": 3 - workers, "max_steps": 20}
        plain["resources"]["workers"] = workers
        path.write_text(format_recipe_yaml(Recipe.model_validate(plain)))
        run_ranks(TRAIN, [str(path), str(store.folder), str(tmp_path / name)], workers)
        rows = read_metrics(tmp_path / name / "metrics.jsonl")
        losses.append([row["loss"] for row in rows if "loss" in row])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)
