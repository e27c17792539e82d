"""From the example recipe to translated clips: a model of poses and of two video models."""

import json
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from kinesweep.cli import main
from kinesweep.core.errors import InputError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.export import Bundle, Input, export_bundle, find_inputs, verify_bundle
from kinesweep.export.part_inputs import parse_stream_files
from kinesweep.export.pyfunc_model import BundleModel
from kinesweep.pipelines.corpus_check import check_corpus
from kinesweep.pipelines.evaluation import evaluate_model_dir
from kinesweep.pipelines.extraction import extract_features, find_training_store
from kinesweep.pipelines.inputs import load_recipe
from kinesweep.store import Store
from kinesweep.store.export.export_h5 import export_h5_shards
from kinesweep.training.loop.run import RunSpec, train_run
from parts import films_with_poses
from vision import vision_model

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[3]
OVERRIDES = [
    "training.max_steps=4",
    "training.eval_steps=2",
    "features.parts[0].normalize=none",
    "features.parts[0].hide_legs=false",
    "tracking=none",
]


def test_the_example_goes_all_the_way(
    tmp_path: Path,
    forked_verification: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    films = films_with_poses(tmp_path / "corpus", train=5, validation=2, test=2)
    (films / "videos").mkdir()
    (films / "films").rename(films / "videos" / "films")
    monkeypatch.setenv("KINESWEEP_FILMS", str(films))
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "home"))
    for variable, kind in (("IMAGE", "dinov2"), ("VIDEO", "videomae")):
        monkeypatch.setenv(f"KINESWEEP_{variable}_MODEL", str(vision_model(tmp_path / kind, kind)))
    recipe = load_recipe(ROOT / "jobs/recipes/streams_tiny.yaml", OVERRIDES)
    check = check_corpus(recipe)
    assert not check.invalid_rows and len(check.clips) == 9 and "first frame" in check.not_checked
    with caplog.at_level(logging.INFO, "kinesweep"):
        store = extract_features(recipe, on_ray=False)
    assert "stream `mae`:" in caplog.text
    assert "clips that have all streams: train 5, validation 2, test 2" in caplog.text
    assert list(store.schema.streams) == ["pose", "dino", "mae"]
    run = train_run(
        RunSpec(recipe, store.folder, tmp_path / "run"), NullRunLogger(), lambda _: True
    )
    assert find_training_store(run.folder).folder == store.folder
    evaluation, _ = evaluate_model_dir(run.folder, "test", [], None)
    assert len(evaluation.predictions) == 2
    assert len(Path(f"{store.folder}.test.jsonl").read_text().splitlines()) == 1
    assert export_h5_shards(store, tmp_path / "h5").clips == {
        "train": 5,
        "validation": 2,
        "test": 2,
    }
    folder = export_bundle(run.folder, tmp_path / "bundle", store)
    assert verify_bundle(folder, store.folder, run.folder) == 2
    for text in ((folder / name).read_text() for name in ("recipe.yaml", "features.json")):
        assert str(tmp_path) not in text
    for kind in ("dinov2", "videomae"):
        shutil.rmtree(tmp_path / kind)
    _translate(folder, films, run.folder, store, capsys, caplog)


def _translate(
    folder: Path,
    films: Path,
    run_dir: Path,
    store: Store,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    bundle = Bundle.load(folder)
    predictions = read_predictions(run_dir / "predictions" / "validation.tsv")
    wanted = [row.hypothesis for row in sorted(predictions, key=lambda row: row.clip_id)]
    videos = [films / "videos/films" / f"{number}.mp4" for number in (5, 6)]
    poses = [films / "poses/films" / f"{video.stem}.pose" for video in videos]
    # A file for each stream.
    assert (
        bundle.translate(
            [
                Input(
                    video, streams={"pose": Input(pose), "dino": Input(video), "mae": Input(video)}
                )
                for video, pose in zip(videos, poses, strict=True)
            ]
        )
        == wanted
    )
    with pytest.raises(InputError, match=r"gives no file for `pose`: .*--input pose=FILE"):
        bundle.translate([videos[0]])
    # A video with its poses beside it; a folder of such videos; a table; columns of a table.
    for pose in poses:
        shutil.copy(pose, videos[0].parent)
    assert bundle.translate(videos) == wanted
    source = bundle.loaded.recipe.corpora[0]
    listed = find_inputs([videos[0].parent], source, parts=bundle.parts)
    assert bundle.translate([item for _, item in listed]) == wanted
    table = films / "rows.tsv"
    rows = [f"{os.path.relpath(video, films)}\tp{video.stem}" for video in videos]
    table.write_text("\n".join(["signal\tid", *rows]))
    named = find_inputs([table], source, parts=bundle.parts)
    assert [name for name, _ in named] == ["p5", "p6"]
    assert bundle.translate([item for _, item in named]) == wanted
    rows = [
        "\t".join([str(path.relative_to(films)) for path in (video, video, pose)])
        for video, pose in zip(videos, poses, strict=True)
    ]
    table.write_text("\n".join(["dino\tmae\tpose", *rows]))
    named = find_inputs([table], source, parts=bundle.parts)
    for (_, item), record in zip(named, store.get_records("validation"), strict=True):
        stored = store.get_features(record)
        for name, x_TD in bundle.compute_feature_arrays(item).items():
            np.testing.assert_allclose(x_TD, stored[name], rtol=2e-2, atol=2e-2)
    assert bundle.translate([item for _, item in named]) == wanted
    # A stream without a file is absent, and this is said.
    columns = [*rows[0].split("\t")[:2], ""]
    table.write_text("\n".join(["dino\tmae\tpose", "\t".join(columns)]))
    ((_, item),) = find_inputs([table], source, parts=bundle.parts)
    assert list(item.streams) == ["dino", "mae"] and "1 of 1 clips have no `pose`" in caplog.text
    assert isinstance(bundle.translate([item])[0], str)
    # On the command line, and as a served model.
    options = [f"--input=pose={poses[0]}", f"--input=dino={videos[0]}", f"--input=mae={videos[0]}"]
    capsys.readouterr()
    with pytest.raises(SystemExit, match="0"):
        main(["translate", str(folder), *options, "--json"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {str(poses[0]): wanted[0]}
    with pytest.raises(InputError, match="must be STREAM=FILE, each stream once; the model reads"):
        parse_stream_files(["face=a.pose"], bundle.parts)
    with pytest.raises(InputError, match="reads one kind of input"):
        parse_stream_files(["pose=a.pose"], {})
    row = {"pose": poses[0].read_bytes(), "dino": videos[0].read_bytes()}
    frame = _Frame([{**row, "mae": videos[0].read_bytes()}])
    assert BundleModel(bundle).predict(frame) == [{"text": wanted[0]}]


class _Frame:
    """What a data frame gives to a served model."""

    def __init__(self, rows: list[dict[str, bytes]]) -> None:
        self._rows = rows

    def to_dict(self, orient: str) -> list[dict[str, bytes]]:
        assert orient == "records"
        return self._rows
