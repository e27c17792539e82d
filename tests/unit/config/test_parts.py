"""Parts of features: the source of each follows from the recipe's, and mistakes are named."""

from pathlib import Path
from typing import Any

import pytest

from corpus import tiny_recipe
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import ConfigError, InputError

VISION = {"kind": "video", "encoder": {"kind": "hf_vision", "pretrained": "dino"}}
POSES = {
    "kind": "pose_tsv",
    "train": "data/train.tsv",
    "videos": "data/videos",
    "root": "data/poses/{estimator}",
}
VIDEOS = {"kind": "video_tsv", "train": "data/train.tsv", "root": "videos", "poses": "poses"}
SHARDS = {
    "kind": "h5_shards",
    "train": "annotation.train.json",
    "streams": [{"name": "face", "fps": 25}, {"name": "hand", "fps": 25}],
}
PARTS: list[dict[str, Any]] = [
    {"name": "pose", "estimator": "mediapipe"},
    {"name": "dino", **VISION},
    {
        "name": "given",
        "kind": "precomputed",
        "source": {"kind": "feature_manifest", "train": "x/manifests/train_features.tsv"},
    },
    {"name": "face", "kind": "streams", "streams": "face", "source": SHARDS},
    {"name": "close", "column": "close_up", "root": "films", **VISION},
]


def recipe_of(features: Any, source: Any = POSES) -> Recipe:
    plain = tiny_recipe(Path("corpus"), Path("stores")).model_dump(mode="json")
    return validate_config(Recipe, {**plain, "source": source, "features": features}, "parts")


def test_each_part_has_a_source_of_its_own_kind() -> None:
    recipe = recipe_of(PARTS)
    sources = {part.name: own.effective_source for part, own in recipe.part_recipes}
    kinds = {name: source.kind for name, source in sources.items()}
    assert kinds == {
        "pose": "pose_tsv",
        "dino": "video_tsv",
        "given": "feature_manifest",
        "face": "h5_shards",
        "close": "video_tsv",
    }
    roots = {name: getattr(source, "root", None) for name, source in sources.items()}
    assert roots["pose"] == "data/poses/mediapipe" and roots["dino"] == "data/videos"
    assert (roots["close"], sources["close"].column) == ("films", "close_up")
    assert sources["pose"].ignore_columns == sources["dino"].ignore_columns
    assert sources["pose"].ignore_columns == ("close_up", "close_up_start", "close_up_end")
    assert [stream.name for stream in sources["face"].streams] == ["face"]
    assert recipe.required_splits == ("validation",), "some features are precomputed"
    with pytest.raises(InputError, match="has several parts of features"):
        _ = recipe.single_features


def test_parts_survive_being_saved_moved_and_made_portable() -> None:
    recipe = recipe_of(PARTS)
    for changed in (recipe, recipe.to_portable(), recipe.resolve_paths(Path("/base"))):
        assert Recipe.model_validate(changed.model_dump(mode="json")) == changed
    parts = recipe.resolve_paths(Path("/base")).features.parts
    assert parts[4].root == "/base/films"
    assert parts[2].source.train == "/base/x/manifests/train_features.tsv"
    portable = recipe.to_portable()
    assert portable.features.parts[2].source.train == "train_features.tsv"
    assert "data/" not in portable.model_dump_json()
    changed = recipe.with_encoder_dir(Path("/bundle/vision"), 4).features.parts
    assert [part.encoder.pretrained for part in (changed[1], changed[4])] == [
        "dino",
        "/bundle/vision",
    ]


@pytest.mark.parametrize(
    ("features", "source", "message"),
    [
        ([], VIDEOS, "lists no part"),
        ([{"name": "all"}], VIDEOS, "must not be `all`"),
        ([{"name": "pose"}, {"name": "pose"}], VIDEOS, "two parts are called `pose`"),
        ([{"name": "pose", "corpora": ["a"]}], VIDEOS, "needs a list of corpora"),
        ([{"name": "pose", "column": "c", "source": VIDEOS}], VIDEOS, "has such keys itself"),
        ([{"name": "pose"}], {**VIDEOS, "poses": None}, "own, or `poses` in `source`"),
        ([{"name": "dino", **VISION}], {**POSES, "videos": None}, "or `videos` in `source`"),
        ([{"name": "dino", **VISION}], SHARDS, "kind `video` cannot be extracted .* h5_shards"),
        ([{"name": "pose", "estimator": "x"}], VIDEOS, "part `pose`: `features.estimator` and"),
        (
            [{"name": "d", **VISION, "crops": ["face"]}],
            {**VIDEOS, "poses": None},
            "part `d`: .*crops",
        ),
        ([{"name": "h", "kind": "streams", "streams": "a+b"}], SHARDS, "must name one stream"),
        ([{"name": "h", "kind": "streams", "streams": "a"}], SHARDS, "names a, but the source has"),
        ([{"name": "pose", "point": "all"}], VIDEOS, "did you mean `points`"),
        ([{"name": "pose", "kind": "poze"}], VIDEOS, "must be one of 'pose', 'video'"),
        (
            [{"name": "pose", "source": {**VIDEOS, "kind": "pose_tsv", "poses": None}}],
            [{**VIDEOS, "name": "a"}, {**VIDEOS, "name": "b"}],
            "unknown|`corpora: .NAME.`",
        ),
    ],
)
def test_what_cannot_be_is_said(features: Any, source: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipe_of(features, source)
