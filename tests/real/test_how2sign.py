"""Real How2Sign clips: extracted whole, learnt by heart, translated from a raw file."""

import math
import os
import random
from pathlib import Path

import numpy as np
import pytest
from pose_format import Pose

from fresh_process import run_fresh
from kinesweep.config.loading import load_config, validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.source import PoseFeaturesConfig, PoseTsvConfig
from kinesweep.core.errors import ClipError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.core.units import Span
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.export import export_bundle
from kinesweep.features import build_features
from kinesweep.sources.pose_format.pose_file import read_pose
from kinesweep.sources.pose_format.pose_tsv import PoseTsvSource
from kinesweep.sources.prepare import prepare_corpus
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.loop.run import RunSpec, train_run

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("KINESWEEP_REAL_DATA", ROOT.parent / "shared" / "data")).absolute()
CLIPS = DATA / "how2sign-clips"
pytestmark = pytest.mark.skipif(not CLIPS.is_dir(), reason=f"no real data in {DATA}")


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Recipe:
    monkeypatch.setenv("KINESWEEP_REAL_DATA", str(DATA))
    path = ROOT / "jobs" / "recipes" / "how2sign_tiny.yaml"
    return load_config(Recipe, path, [f"store.root={tmp_path / 'stores'}"])


def test_all_26_clips_are_extracted(recipe: Recipe) -> None:
    store = extract_locally(recipe)
    assert [len(store.get_records(split)) for split in store.splits] == [21, 2, 3]
    assert store.manifest["dropped"]["total"] == 0
    assert store.schema.widths == {"pose": 534}


def test_its_published_table_gives_all_clips(tmp_path: Path) -> None:
    (tmp_path / "how2sign_train.csv").write_bytes((CLIPS / "how2sign_style.csv").read_bytes())
    found = prepare_corpus("how2sign", tmp_path, CLIPS / "pose", tmp_path / "out")
    assert (found.clips, found.missing) == ({"train": 26}, {})
    splits = {split: str(CLIPS / f"{split}.tsv") for split in ("train", "validation", "test")}
    ready = PoseTsvSource(PoseTsvConfig(**splits))
    wanted = {c.media: c.texts for split in ready.list_splits() for c in ready.list_clips(split)}
    train = {"train": str(tmp_path / "out/train.tsv"), "root": str(CLIPS / "pose")}
    clips = PoseTsvSource(PoseTsvConfig(**train)).list_clips("train")
    assert {f"pose/{clip.media}": clip.texts for clip in clips} == wanted


def test_a_span_inside_of_a_file_is_as_good_as_a_file_cut_before(tmp_path: Path) -> None:
    """200 random spans of the 26 files, against files cut by pose-format."""
    step, rng = build_features(PoseFeaturesConfig()), random.Random(0)
    paths = sorted((CLIPS / "pose").glob("*.pose"))
    for number in range(200):
        path = paths[number % len(paths)]
        whole = Pose.read(path.read_bytes())
        frames = len(whole.body.data)
        first = rng.randrange(frames)
        last = rng.randint(first + 1, frames)
        fps = whole.body.fps
        # The first moment of a frame in whole milliseconds, and one before the last frame's end.
        start, end = math.ceil(1000 * first / fps), math.floor(1000 * last / fps)
        if not 0 < start < end:
            continue
        part = slice(math.floor(start / 1000 * fps), math.ceil(end / 1000 * fps))
        body = type(whole.body)(fps, whole.body.data[part], whole.body.confidence[part])
        with (tmp_path / "cut.pose").open("wb") as file:
            Pose(whole.header, body).write(file)
        features = []
        for file, span in ((path, Span.from_ms(start, end)), (tmp_path / "cut.pose", Span())):
            try:
                features.append(step(read_pose(file, span)))
            except ClipError as error:
                features.append(error.reason)
        assert np.array_equal(*features), (path.name, start, end)


def by_heart(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with seven clips of training as validation too, under ids of their own."""
    rows = (CLIPS / "train.tsv").read_text(encoding="utf-8").splitlines()[:8]
    for split in ("train", "validation"):
        lines = [f"id\t{rows[0]}", *(f"{split}_{i}\t{row}" for i, row in enumerate(rows[1:]))]
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    plain = recipe.model_dump(mode="json")
    splits = {split: str(folder / f"{split}.tsv") for split in ("train", "validation")}
    plain["source"] |= {**splits, "test": None, "root": str(CLIPS)}
    plain["training"] |= {"max_steps": 100, "eval_steps": 50, "warmup_steps": 10}
    return validate_config(Recipe, plain, "by heart")


@pytest.mark.slow
def test_learnt_by_heart_and_translated_from_a_raw_file(recipe: Recipe, tmp_path: Path) -> None:
    recipe = by_heart(recipe, tmp_path)
    store = extract_locally(recipe)
    spec = RunSpec(recipe, store.folder, tmp_path / "run")
    result = train_run(spec, NullRunLogger(), lambda _: True)
    print(f"BLEU {result.scores['bleu']:.1f} on seven clips learnt by heart")
    assert result.scores["bleu"] >= 90
    bundle = export_bundle(result.folder, tmp_path / "bundle", store)
    lines = {
        p.clip_id: p.hypothesis
        for p in read_predictions(result.folder / "predictions" / "validation.tsv")
    }
    wanted = store.get_records("validation")[3].clip
    verb = "import sys; from kinesweep.cli import main; main(sys.argv[1:])"
    words = ["translate", str(bundle), str(CLIPS / wanted.media)]
    done = run_fresh(verb, words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip("\n").split("\t")[1] == lines[wanted.id]


def test_the_published_recipes_twin_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KINESWEEP_HOW2SIGN", str(CLIPS))
    path = ROOT / "jobs" / "recipes" / "how2sign_m2m100_tiny.yaml"
    few = ["training.max_steps=30", "training.eval_steps=15", f"store.root={tmp_path / 'stores'}"]
    recipe = load_config(Recipe, path, few)
    store = extract_locally(recipe)
    seen: list[float] = []
    spec = RunSpec(recipe, store.folder, tmp_path / "run")
    result = train_run(spec, NullRunLogger(), lambda m: not seen.append(m["token_loss"]))
    assert (result.status, result.step) == ("finished", 30)
    assert seen[-1] < seen[0]
