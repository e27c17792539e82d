"""The rate that a model was trained at: other files are resampled or refused with the figures."""

from pathlib import Path

import pandas as pd
import pytest
from pose_format import Pose

import kinesweep
from corpus import tiny_corpus, tiny_recipe
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import ClipError
from kinesweep.core.schema import StreamSchema
from kinesweep.core.skeleton.pose import PoseSequence
from kinesweep.core.units import Span
from kinesweep.export import Bundle, Input
from kinesweep.export.pyfunc_model import BundleModel
from kinesweep.export.raw_features import compute_raw_features
from kinesweep.export.raw_inputs import read_raw_file
from kinesweep.export.training_rate import check_training_rate
from kinesweep.store.extraction.build import extract_locally


def at_rate(file: Path, fps: float, copy: Path) -> Path:
    pose = Pose.read(file.read_bytes())
    pose.body.fps = fps
    with copy.open("wb") as out:
        pose.write(out)
    return copy


def is_accepted(rate: float, known: float | None, *several: float) -> bool:
    schema = StreamSchema(9, known, "float16", None, rates_hz=tuple((r, 1) for r in several))
    try:
        check_training_rate(rate, schema, 1, "pose")
    except ClipError as error:
        assert error.reason == "other_rate" and f"{rate:.5g} frames" in str(error)
        return False
    return True


@pytest.mark.parametrize("trained", [12.5, 24, 25, 30, 60])
def test_one_percent_is_the_limit(trained: float) -> None:
    assert all(is_accepted(trained * share, trained) for share in (0.991, 0.999, 1, 1.009))
    assert not any(is_accepted(trained * share, trained) for share in (0.5, 0.98, 1.02, 2))


def test_ntsc_rates_are_their_whole_rates_and_25_is_not_24() -> None:
    for rate, trained in ((29.97, 30), (30, 29.97), (23.976, 24), (59.94, 60)):
        assert is_accepted(rate, trained)
    assert not is_accepted(24, 25) and not is_accepted(25, 24)


def test_several_rates_accept_what_lies_between_them() -> None:
    assert all(is_accepted(rate, None, 24, 30) for rate in (24, 25, 29.97, 30, 23.9))
    assert not is_accepted(50, None, 24, 30) and not is_accepted(12.5, None, 24, 30)


def test_unknown_rates_are_not_compared() -> None:
    assert is_accepted(3, None)


def test_the_error_counts_frames_of_files_not_of_the_stride() -> None:
    schema = StreamSchema(9, 12.5, "float16")
    with pytest.raises(ClipError, match=r"50 frames per second.*trained on 25,.*features\.fps"):
        check_training_rate(25, schema, 2, "pose")


@pytest.mark.integration
def test_a_bundle_refuses_another_rate_everywhere_and_can_be_told_otherwise(
    bundle: Path, recipe: Recipe, tmp_path: Path
) -> None:
    file = sorted(Path(recipe.source.validation).parent.glob("poses/validation/*.pose"))[0]
    fast = at_rate(file, 25, tmp_path / "fast.pose")
    near = at_rate(file, 11.988, tmp_path / "near.pose")
    loaded = Bundle.load(bundle)
    for call in (
        lambda: loaded.translate([file, fast]),
        lambda: loaded.compute_features(fast),
        lambda: loaded.compute_input_features(Input(fast)),
        lambda: BundleModel(loaded).predict(pd.DataFrame({"pose": [fast.read_bytes()]})),
    ):
        with pytest.raises(ClipError, match=r"25 frames per second.*trained on 12,") as caught:
            call()
        assert caught.value.reason == "other_rate" and ".pose`" in str(caught.value)
    expected = loaded.translate([file])
    assert loaded.translate([near]) == expected
    assert kinesweep.load_bundle(bundle, accept_rate=True).translate([fast]) == expected


@pytest.mark.integration
def test_with_features_fps_a_file_of_any_rate_is_resampled(tmp_path: Path) -> None:
    corpus = tiny_corpus(tmp_path, clips=12)
    recipe = tiny_recipe(corpus, tmp_path / "stores", features={"fps": 6.0, "stride": 1})
    store = extract_locally(recipe)
    schema = store.schema.streams["pose"]
    metadata = {"store_dtype": "float16", "streams": {"pose": schema.to_json()}}
    file = sorted((corpus / "poses/train").glob("*.pose"))[0]
    plain = compute_raw_features(Input(file), recipe.corpora[0], recipe.features, metadata)["pose"]
    assert plain.rate_hz == 6
    # The same frames in half the time are half as many.
    fast = at_rate(file, 24, tmp_path / "fast.pose")
    short = compute_raw_features(Input(fast), recipe.corpora[0], recipe.features, metadata)["pose"]
    assert abs(len(short.x_TD) - len(plain.x_TD) / 2) <= 1


def test_a_replaced_rate_is_said_unless_the_file_states_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`source.fps` corrects the files of a corpus; a new file may have been right."""
    corpus = tiny_corpus(tmp_path)
    recipe = tiny_recipe(corpus, tmp_path, source={"fps": 25.0})
    poses = sorted(corpus.rglob("*.pose"))[0]
    warned = {}
    for stated in (0.0, 25.0, 25.1, 50.0):
        caplog.clear()
        file = at_rate(poses, stated, tmp_path / "new.pose")
        media = read_raw_file(recipe.corpora[0], recipe.features, file, Span())
        assert isinstance(media, PoseSequence) and media.fps == 25
        warned[stated] = [text for text in caplog.messages if "replaced_rate" in text]
    assert [len(texts) for texts in warned.values()] == [0, 0, 0, 1]
    assert "states 50 frames a second, but is read at 25" in warned[50.0][0]
