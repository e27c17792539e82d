"""Film → joints of SMPL → text: extraction, training, a bundle, and a film that it translates."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from joints import blocks, write_frames, write_hybrik
from kinesweep.cli import app
from kinesweep.config.loading import load_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import ConfigError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.core.skeleton.skeleton import SMPL_22
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.export import export_bundle
from kinesweep.export.verify import compare_bundle_with_run
from kinesweep.features.estimators.subprocess_worker import EstimatorProcess
from kinesweep.pipelines import pose_estimation
from kinesweep.pipelines.extraction import extract_features
from kinesweep.pipelines.inputs import load_recipe
from kinesweep.store.pose_estimation.estimate import PoseEstimationResult
from kinesweep.store.pose_estimation.tasks import (
    collect_estimation_inputs,
    has_valid_poses,
    write_estimation_note,
)
from kinesweep.training.loop.run import RunSpec, train_run

RECIPE = Path(__file__).resolve().parents[3] / "jobs/recipes/motion2text_films_tiny.yaml"
TEXTS = ("Go left.", "Go right.", "Stay here.")
SMALL = (
    "training.max_steps=6",
    "training.eval_steps=3",
    "training.warmup_steps=2",
    "model.tokenizer.size=300",
    "generation.num_beams=2",
    "generation.max_new_tokens=8",
    "tracking=none",
)


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Films in which a block moves, one of them without it in some frames, and one in none."""
    films = tmp_path / "films"
    for split, count in (("train", 6), ("validation", 2)):
        rows = ["id\tmotion\ttext1"]
        for number in range(count):
            lefts: list[int | None] = [20 + (number % 3 - 1) * step for step in range(8 + number)]
            if number == 1:
                lefts[0] = lefts[4] = None
            write_frames(films / split / str(number), blocks(lefts))
            rows.append(f"{split[0]}{number}\t{split}/{number}\t{TEXTS[number % 3]}")
        (tmp_path / f"{split}.tsv").write_text("\n".join(rows) + "\n")
    monkeypatch.setenv("KINESWEEP_MOTION_FILMS", str(tmp_path))
    monkeypatch.setenv("KINESWEEP_HYBRIK", str(tmp_path / "HybrIK"))
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "state"))
    return tmp_path


def estimate_here(tasks: Any, spec: Any, fps: float, progress: Any) -> PoseEstimationResult:
    """Estimate as a worker on Ray does, in this process."""
    missing = [task for task in tasks if not has_valid_poses(task, spec, fps)]
    with EstimatorProcess(spec) as estimate:
        for task in missing:
            statistics = estimate(task.source, task.pose_path, fps)
            write_estimation_note(
                task, {**collect_estimation_inputs(task, spec, fps), **statistics}
            )
    return PoseEstimationResult(len(missing), len(tasks) - len(missing), {}, 1, 1.0, 1.0)


@pytest.mark.integration
def test_a_film_becomes_text(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = write_hybrik(corpus)
    (corpus / "hybrik.yaml").write_text(yaml.safe_dump(section))
    monkeypatch.setattr(pose_estimation, "estimate_poses_on_ray", estimate_here)
    monkeypatch.setattr(pose_estimation.ray_cluster, "connect_to_ray", lambda: None)
    monkeypatch.chdir(corpus)
    changes = [*SMALL, f"source.estimator.detector={section['detector']}"]
    recipe = load_recipe(RECIPE, changes)
    store = extract_features(recipe, on_ray=False)
    assert {split: len(store.get_records(split)) for split in store.splits} == {
        "train": 6,
        "validation": 2,
    }
    schema = store.schema.streams["pose"]
    assert schema.layout == SMPL_22.layout and schema.rate_hz == 25
    run = train_run(RunSpec(recipe, store.folder, corpus / "run"), NullRunLogger(), lambda _: True)
    folder = export_bundle(run.folder, corpus / "bundle", store)
    assert compare_bundle_with_run(folder, store, run.folder) == 2
    assert str(corpus) not in (folder / "recipe.yaml").read_text()
    # The films themselves, which the bundle has never seen; their joints are estimated again.
    wanted = {
        p.clip_id: p.hypothesis for p in read_predictions(run.folder / "predictions/validation.tsv")
    }
    films = [str(corpus / f"films/validation/{number}") for number in (0, 1)]
    translate = ("translate", str(folder), *films)
    done = CliRunner().invoke(app, [*translate, "--estimator", str(corpus / "hybrik.yaml")])
    assert done.exit_code == 0, done.output
    lines = dict(line.split("\t") for line in done.stdout.splitlines() if "\t" in line)
    assert lines == {film: wanted[f"v{number}"] for number, film in enumerate(films)}
    # A table of films, of one of them a part.
    table = corpus / "films/validation/some.tsv"
    table.write_text("id\tmotion\tstart\tend\nwhole\t0\t0\t0\npart\t1\t2\t7\n")
    estimator = ("--estimator", str(corpus / "hybrik.yaml"))
    listed = CliRunner().invoke(app, ["translate", str(folder), str(table), *estimator])
    assert listed.exit_code == 0, listed.output
    rows = dict(line.split("\t") for line in listed.stdout.splitlines() if "\t" in line)
    assert rows["whole"] == wanted["v0"] and set(rows) == {"whole", "part"}
    # Nobody runs code that a bundle names, and no other estimator than that of the training.
    withheld = CliRunner().invoke(app, translate)
    assert withheld.exit_code == 2 and "--estimator" in withheld.output
    (corpus / "other.yaml").write_text(yaml.safe_dump({**section, "position": "root"}))
    other = CliRunner().invoke(app, [*translate, "--estimator", str(corpus / "other.yaml")])
    assert other.exit_code == 2 and "trained on joints of another one" in str(other.output)


def test_joints_are_found_through_references_too(corpus: Path) -> None:
    """A reference motion may be a film that no row lists; other films are left alone."""
    text = "id\tmotion\ttext1\treference\na\ttrain/0\tGo.\ttrain/1\nb\ttrain/2\tStay.\ta\n"
    (corpus / "train.tsv").write_text(text)
    recipe = load_config(Recipe, RECIPE, [f"source.validation={corpus / 'train.tsv'}"])
    names = [task.name for task in pose_estimation._find_corpus_videos(recipe)]
    assert names == ["train/0", "train/1", "train/2"]


def test_what_cannot_be(corpus: Path) -> None:
    for change, message in (
        ("source.motions=x.npz", "`videos` needs `motions`, the folder"),
        ("source.estimator=null", "`videos` needs `estimator`"),
        ("source.estimator.kind=hybrid", "source.estimator.kind"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_config(Recipe, RECIPE, [change])


def test_a_bundle_s_recipe_has_no_paths(corpus: Path) -> None:
    section = write_hybrik(corpus)
    recipe = load_config(Recipe, RECIPE, [f"source.estimator.detector={section['detector']}"])
    portable = recipe.resolve_paths(corpus).to_portable().model_dump(mode="json")["source"]
    assert str(corpus) not in json.dumps(portable)
    assert portable["estimator"]["folder"] == "HybrIK" and portable["estimator"]["sha256"]
    assert np.isscalar(portable["fps"])
