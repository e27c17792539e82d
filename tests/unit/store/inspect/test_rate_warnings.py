"""Several frame rates in one corpus: listed in the manifest, warned about with a clip each."""

import logging
from pathlib import Path

import pytest
from pose_format import Pose

from corpus import tiny_corpus, tiny_recipe
from kinesweep.config.recipe import Recipe
from kinesweep.features.quality.rate_warnings import find_rate_warnings
from kinesweep.pipelines.extraction import extract_features
from kinesweep.store.extraction.build import extract_locally
from kinesweep.store.inspect.warnings import find_store_rate_warnings


def set_rate(file: Path, fps: float) -> None:
    pose = Pose.read(file.read_bytes())
    pose.body.fps = fps
    with file.open("wb") as out:
        pose.write(out)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """One of the clips of train has 50 frames a second."""
    corpus = tiny_corpus(tmp_path, clips=12)
    set_rate(sorted((corpus / "poses/train").glob("*.pose"))[0], 50)
    return tiny_recipe(corpus, tmp_path / "stores")


def test_rates_that_differ_are_named_with_an_example() -> None:
    rates = {"a": 25.0, "b": 50.0, "c": 25.0, "d": 12.5}
    (warning,) = find_rate_warnings(rates)
    assert warning.kind == "several_rates" and warning.row == "pose"
    for part in ("3 different", "12.5 (1 clip, such as `d`)", "25 (2 clips, such as `a`)"):
        assert part in warning.message
    assert "`features.fps`" in warning.message
    (other,) = find_rate_warnings(rates, "video", can_resample=False)
    assert "features.fps" not in other.message and other.row == "video"


@pytest.mark.parametrize("rates", [[], [25.0], [25.0, 25.0], [29.97, 30.0], [23.976, 24.0]])
def test_one_rate_is_no_warning(rates: list[float]) -> None:
    assert find_rate_warnings({str(n): rate for n, rate in enumerate(rates)}) == []


def test_many_measured_rates_are_a_short_message() -> None:
    rates = {f"clip {n}": 20 + n / 97 for n in range(1000)}
    (warning,) = find_rate_warnings(rates)
    assert len(warning.message) < 600 and "other rates" in warning.message


def test_a_store_lists_its_rates_and_extract_warns(
    recipe: Recipe, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        store = extract_features(recipe, on_ray=False)
    schema = store.schema.streams["pose"]
    stored = sum(len(store.get_records(split)) for split in store.splits)
    assert schema.rate_hz is None
    assert schema.rates_hz == ((6.0, stored - 1), (25.0, 1))  # the stride is 2
    assert "`features.fps`" in caplog.text and "25 (1 clip," in caplog.text


def test_with_features_fps_there_is_one_rate(recipe: Recipe) -> None:
    features = recipe.features.model_copy(update={"fps": 30.0})
    store = extract_locally(recipe.model_copy(update={"features": features}))
    assert store.schema.streams["pose"].rate_hz == 15
    assert "rates_hz" not in store.manifest["streams"]["pose"]
    assert find_store_rate_warnings(store) == []
