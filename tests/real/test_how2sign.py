"""Real How2Sign clips: extracted whole, learnt by heart, translated from a raw file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kinesweep.core.config import load, validate
from kinesweep.core.recipe import Recipe
from kinesweep.core.runlog import NullRunLog
from kinesweep.export import export_bundle
from kinesweep.store.build import extract_locally
from kinesweep.training.predictions import read_predictions
from kinesweep.training.run import RunSpec, train_run

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("KINESWEEP_REAL_DATA", ROOT.parent / "shared" / "data")).absolute()
CLIPS = DATA / "how2sign-clips"
pytestmark = pytest.mark.skipif(not CLIPS.is_dir(), reason=f"no real data in {DATA}")


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Recipe:
    monkeypatch.setenv("KINESWEEP_REAL_DATA", str(DATA))
    path = ROOT / "jobs" / "recipes" / "how2sign_tiny.yaml"
    return load(Recipe, path, [f"store.root={tmp_path / 'stores'}"])


def test_all_26_clips_are_extracted(recipe: Recipe) -> None:
    store = extract_locally(recipe)
    assert [len(store.records(split)) for split in store.splits] == [21, 2, 3]
    assert store.manifest["dropped"]["total"] == 0
    assert store.schema.widths == {"pose": 534}


def by_heart(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with its training split as validation too, under ids of its own."""
    rows = (CLIPS / "train.tsv").read_text(encoding="utf-8").splitlines()
    for split in ("train", "validation"):
        lines = [f"id\t{rows[0]}", *(f"{split}_{i}\t{row}" for i, row in enumerate(rows[1:]))]
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    plain = recipe.model_dump(mode="json")
    splits = {split: str(folder / f"{split}.tsv") for split in ("train", "validation")}
    plain["source"] |= {**splits, "test": None, "root": str(CLIPS)}
    return validate(Recipe, plain, "by heart")


def test_learnt_by_heart_and_translated_from_a_raw_file(recipe: Recipe, tmp_path: Path) -> None:
    recipe = by_heart(recipe, tmp_path)
    store = extract_locally(recipe)
    spec = RunSpec(recipe, store.folder, tmp_path / "run")
    result = train_run(spec, NullRunLog(), lambda _: True)
    assert result.scores["bleu"] >= 90
    bundle = export_bundle(result.folder, tmp_path / "bundle", store)
    lines = {
        p.clip_id: p.hypothesis
        for p in read_predictions(result.folder / "predictions" / "validation.tsv")
    }
    wanted = store.records("validation")[3].clip
    command = [sys.executable, "-m", "kinesweep", "translate", str(bundle)]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "platform"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(CLIPS / wanted.media)], env=env, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip("\n").split("\t")[1] == lines[wanted.id]
