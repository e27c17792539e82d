"""Raw files: a film's span and rate; features whole, of their manifest's length, or an error."""

from pathlib import Path

import numpy as np
import pytest
import torch

from corpus import tiny_recipe
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import ClipError, InputError
from kinesweep.core.schema import StreamSchema
from kinesweep.core.units import Span
from kinesweep.core.video_files import VideoSegment
from kinesweep.export.raw_features import compute_raw_features
from kinesweep.export.raw_inputs import Input, read_raw_file
from skeletons import motions, write_pack
from timed_films import write_timed_video
from vision import film_recipe, vision_model


def test_features_are_whole_or_an_error(tmp_path: Path) -> None:
    plain = tiny_recipe(tmp_path, tmp_path).model_dump(mode="json")
    plain["source"] = {"kind": "feature_manifest", "train": "train_features.tsv", "fps": 9.5}
    recipe = validate_config(Recipe, {**plain, "features": {"kind": "precomputed"}}, "test")
    file = tmp_path / "x.pt"
    torch.save(torch.ones(3, 4), file)
    for span in (Span(), Span.from_frames(0, 3)):
        found = read_raw_file(recipe.corpora[0], recipe.features, file, span)
        np.testing.assert_array_equal(found.x_TD, np.ones((3, 4)))
        assert found.rate_hz == 9.5
    with pytest.raises(ClipError, match="holds 3 features, but its manifest says 2"):
        read_raw_file(recipe.corpora[0], recipe.features, file, Span.from_frames(0, 2))
    for span in (Span.from_frames(1, 3), Span.from_ms(0, 100)):
        with pytest.raises(InputError, match="translated only as a whole"):
            read_raw_file(recipe.corpora[0], recipe.features, file, span)


def test_crops_need_the_poses_beside_a_video(tmp_path: Path) -> None:
    plain = tiny_recipe(tmp_path, tmp_path).model_dump(mode="json")
    plain["source"] = {"kind": "video_tsv", "train": "train.tsv", "poses": str(tmp_path / "far")}
    encoder = {"kind": "hf_vision", "pretrained": "any"}
    plain["features"] = {"kind": "video", "encoder": encoder, "crops": ["face"]}
    recipe = validate_config(Recipe, plain, "test").to_portable()
    assert str(tmp_path) not in recipe.model_dump_json()
    video, pose = tmp_path / "a.b.mp4", tmp_path / "a.b.pose"
    with pytest.raises(
        InputError, match=r"a\.b\.pose` does not exist; run `kinesweep estimate-poses"
    ):
        read_raw_file(recipe.corpora[0], recipe.features, video, Span())
    pose.touch()
    assert read_raw_file(recipe.corpora[0], recipe.features, video, Span()) == VideoSegment(
        video, pose_path=pose
    )
    other = tmp_path / "other.pose"
    assert read_raw_file(recipe.corpora[0], recipe.features, video, Span(), other) == VideoSegment(
        video, pose_path=other
    )


def test_a_film_and_a_folder_have_their_span_and_the_recipes_rate(tmp_path: Path) -> None:
    plain = film_recipe(tmp_path, tmp_path / "dinov2", tmp_path).model_dump(mode="json")
    plain["source"]["fps"] = 12.5
    recipe = validate_config(Recipe, plain, "test")
    span, film, folder = Span.from_ms(400, 800), tmp_path / "a.mp4", tmp_path / "pictures"
    folder.mkdir()
    assert read_raw_file(recipe.corpora[0], recipe.features, film, span) == VideoSegment(
        film, span, 12.5
    )
    assert read_raw_file(recipe.corpora[0], recipe.features, folder, span) == VideoSegment(
        folder, span, 12.5
    )


def test_a_doubtful_rate_of_a_video_is_said_before_it_is_translated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = film_recipe(tmp_path, vision_model(tmp_path / "dinov2", "dinov2"), tmp_path)
    metadata = {
        "store_dtype": "float16",
        "streams": {recipe.features.stream: StreamSchema(16, None, "float16").to_json()},
    }
    for name, ticks, words in (
        ("slow.mkv", range(0, 3000, 1000), ["implausible_rate"]),
        ("usual.mkv", range(0, 1200, 40), []),
    ):
        film = write_timed_video(tmp_path / name, ticks, rate=1 if words else 25)
        caplog.clear()
        features = compute_raw_features(
            Input(film), recipe.corpora[0], recipe.features, metadata, accept_rate=True
        )
        assert features and [record.message.split(":")[0] for record in caplog.records] == words


def test_a_motion_is_a_file_of_its_own(tmp_path: Path) -> None:
    plain = tiny_recipe(tmp_path, tmp_path).model_dump(mode="json")
    plain["source"] = {"kind": "skeletons", "train": "train.tsv", "fps": 20, "motions": "all.npz"}
    recipe = validate_config(
        Recipe, {**plain, "features": {"kind": "skeleton"}}, "test"
    ).to_portable()
    (x_TJC,) = motions(1)
    np.save(tmp_path / "a.npy", x_TJC)
    found = read_raw_file(
        recipe.corpora[0], recipe.features, tmp_path / "a.npy", Span.from_frames(1, 3)
    )
    np.testing.assert_array_equal(found.pose.points_TPJC[:, 0], x_TJC[1:3])
    assert found.pose.fps == 20 and found.reference_pose is None
    with pytest.raises(InputError, match=r"files with one motion \(\.npy"):
        read_raw_file(recipe.corpora[0], recipe.features, tmp_path / "a.pt", Span())
    write_pack(tmp_path / "all.npz", [x_TJC])
    with pytest.raises(ClipError, match=r"all\.npz#0"):
        read_raw_file(recipe.corpora[0], recipe.features, tmp_path / "all.npz", Span())
