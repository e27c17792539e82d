"""Real How2Sign films: through two video models, learnt by heart, translated from the mp4.

The four shortest films have 110 frames; the long form takes all eight, 434 frames.
"""

import os
from pathlib import Path

import pandas
import pytest
import torch
from typer.testing import CliRunner

from kinesweep.cli import app
from kinesweep.config.loading import load_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.export import export_bundle, verify_bundle
from kinesweep.export.pyfunc_model import _load_pyfunc
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.loop.run import RunSpec, train_run
from vision import vision_model

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("KINESWEEP_REAL_DATA", ROOT.parent / "shared" / "data")).absolute()
FILMS = DATA / "how2sign-clips" / "video"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FILMS.is_dir(), reason=f"no real data in {DATA}"),
]


def film_table(folder: Path, count: int) -> dict[str, str]:
    """The shortest films, in train and in validation, with the sentences of their manifest."""
    lines = (DATA / "how2sign-clips" / "manifest.tsv").read_text(encoding="utf-8").splitlines()
    head = lines[0].split("\t")
    rows = [dict(zip(head, line.split("\t"), strict=True)) for line in lines[1:]]
    filmed = [row for row in rows if (FILMS.parent / "video" / f"{row['id']}.mp4").is_file()]
    assert len(filmed) == 8
    filmed.sort(key=lambda row: (FILMS / f"{row['id']}.mp4").stat().st_size)
    filmed = filmed[:count]
    for split in ("train", "validation"):
        table = ["id\tsignal\toutput"]
        table += [f"{split}_{row['id']}\tvideo/{row['id']}.mp4\t{row['text']}" for row in filmed]
        (folder / f"{split}.tsv").write_text("\n".join(table) + "\n", encoding="utf-8")
    return {split: str(folder / f"{split}.tsv") for split in ("train", "validation")}


def recipe_of(folder: Path, kind: str, films: int) -> Recipe:
    model = vision_model(folder / kind, kind, size=64, width=64)
    plain = load_config(Recipe, ROOT / "jobs" / "recipes" / "ssvp_t5_tiny.yaml").model_dump(
        mode="json"
    )
    windows = {"num_frames": 16, "target_fps": 24, "stride": 8 if kind == "videomae" else 16}
    plain |= {
        "source": {"kind": "video_tsv", **film_table(folder, films), "root": str(FILMS.parent)},
        "features": {
            "kind": "video",
            "encoder": {"kind": "hf_vision", "pretrained": str(model)},
            "windows": windows,
        },
        "store": {"root": str(folder / "stores"), "dtype": "float32"},
    }
    plain["model"]["encoder"] |= {"standardize": True}
    plain["model"]["backbone"]["scratch"] |= {"dropout_rate": 0.0}
    plain["training"] |= {"learning_rate": 3e-3, "label_smoothing_factor": 0.0}
    if films < 8:
        plain["training"] |= {"max_steps": 160, "eval_steps": 80}
    plain["batch"] = {"batch_size": 8}
    return Recipe.model_validate(plain)


@pytest.mark.parametrize("films", [4, pytest.param(8, marks=pytest.mark.proof)])
@pytest.mark.parametrize("kind", ["videomae", "dinov2"])
def test_learnt_by_heart_and_translated_from_the_film(
    tmp_path: Path, kind: str, films: int
) -> None:
    torch.set_num_threads(1)
    recipe = recipe_of(tmp_path, kind, films)
    store = extract_locally(recipe)
    assert store.manifest["dropped"]["total"] == 0
    result = train_run(
        RunSpec(recipe, store.folder, tmp_path / "run"), NullRunLogger(), lambda _: True
    )
    assert result.scores["bleu"] >= 90
    bundle = export_bundle(result.folder, tmp_path / "bundle", store)
    assert verify_bundle(bundle, store.folder, result.folder) == films
    lines = {
        p.clip_id: p.hypothesis
        for p in read_predictions(result.folder / "predictions" / "validation.tsv")
    }
    clip = store.get_records("validation")[films - 1].clip
    content = (FILMS.parent / clip.media).read_bytes()
    sent = pandas.DataFrame([{"video": content}])
    assert _load_pyfunc(str(bundle)).predict(sent) == [{"text": lines[clip.id]}]
    # The bundle stands alone: the video model that it was trained with is gone.
    for path in (tmp_path / kind).iterdir():
        path.unlink()
    told = CliRunner().invoke(app, ["translate", str(bundle), str(FILMS.parent / clip.media)])
    assert told.exit_code == 0, told.output
    assert told.stdout.rstrip("\n").split("\t")[1] == lines[clip.id]
