"""A model of resampled, smoothed points with masks is exported and translates files of any rate."""

from pathlib import Path

import pytest
from pose_format import Pose

from corpus import tiny_corpus, tiny_recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.core.schema import StreamSchema
from kinesweep.export import Bundle, export_bundle
from kinesweep.export.verify import compare_bundle_with_run
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.loop.run import RunSpec, train_run

pytestmark = pytest.mark.integration

FEATURES = {"fps": 10, "stride": 1, "missing": "mask", "smooth": {"window_s": 0.5, "order": 2}}


def test_raw_files_get_what_was_trained_on_at_any_rate(tmp_path: Path) -> None:
    corpus = tiny_corpus(tmp_path, clips=12)
    steps = {"max_steps": 2, "eval_steps": 2}
    augmentation = {"mirror": 0.5, "rotation_deg": 10, "noise": 0.01}
    recipe = tiny_recipe(
        corpus,
        tmp_path / "stores",
        features=FEATURES,
        training=steps,
        batch={"augmentation": augmentation},
    )
    store = extract_locally(recipe)
    run = tmp_path / "run"
    assert train_run(RunSpec(recipe, store.folder, run), NullRunLogger(), lambda _: True)
    bundle = export_bundle(run, tmp_path / "bundle", store)
    assert compare_bundle_with_run(bundle, store, run) == len(store.get_records("validation"))
    loaded = Bundle.load(bundle)
    schema = StreamSchema.from_json(loaded.loaded.features["streams"]["pose"])
    assert schema.has_mask and schema.rate_hz == 10 and schema.width == 178 * 4
    file = sorted((corpus / "poses/test").glob("*.pose"))[0]
    pose = Pose.read(file.read_bytes())
    frames, pose.body.fps = len(pose.body.data), 25
    with (tmp_path / "fast.pose").open("wb") as out:
        pose.write(out)
    x_TD = loaded.compute_features(tmp_path / "fast.pose")["pose"]
    assert len(x_TD) == max(1, int(frames * 10 / 25 + 0.5))
