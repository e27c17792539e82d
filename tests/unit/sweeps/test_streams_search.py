"""A search over streams: each part is extracted once, and all choices train on the same clips."""

from pathlib import Path

import pytest
import yaml

from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import ConfigError
from kinesweep.store import Store
from kinesweep.store.extraction.build import extract_locally
from kinesweep.sweeps.feature_stores import extract_all_features
from kinesweep.sweeps.space.loading import apply_overrides, load_space
from parts import POSE, films_with_poses, parts_recipe, video_part

STREAMS = "features.streams"
CHOICES = ["pose", "pose+dino", "all"]


def write_space(folder: Path, recipe: Recipe, choices: list[str]) -> Path:
    """A space beside its recipe, which lists its parts as users do."""
    plain = recipe.model_dump(mode="json")
    plain["features"] = plain["features"]["parts"]
    (folder / "recipe.yaml").write_text(yaml.safe_dump(plain))
    space = {
        "question": "Which streams?",
        "recipe": "recipe.yaml",
        "search": {"kind": "grid"},
        "pruner": {"kind": "none"},
        "finalists": {"count": 1, "seeds": [1, 2]},
        "parameters": {STREAMS: {"choices": choices, "role": "scientific"}},
    }
    (folder / "space.yaml").write_text(yaml.safe_dump(space))
    return folder / "space.yaml"


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    corpus = films_with_poses(tmp_path / "corpus", train=3, validation=2)
    parts = [POSE, video_part("dino", tmp_path / "dino"), video_part("mae", tmp_path / "mae")]
    # A limit for a stream that not every choice has.
    batch = {"truncate_frames": {"mae": 20}}
    return parts_recipe(corpus, tmp_path / "stores", parts, batch=batch)


def test_every_part_is_computed_once(recipe: Recipe, tmp_path: Path) -> None:
    space, loaded = load_space(write_space(tmp_path, recipe, CHOICES), [], tmp_path)
    computed: list[int] = []

    def extract(variant: Recipe) -> Store:
        store = extract_locally(variant)
        assert store.extraction is not None
        computed.append(store.extraction.computed)
        return store

    stores = extract_all_features(space, loaded, extract)
    assert computed == [15, 0, 0], "five clips of three parts"
    streams = {}
    for choice in CHOICES:
        store = stores.get_store(apply_overrides(loaded, {STREAMS: choice}).features)
        streams[choice] = list(store.schema.streams)
        assert [record.clip.id for record in store.get_records("train")] == ["0", "1", "2"]
    assert streams == {
        "pose": ["pose"],
        "pose+dino": ["pose", "dino"],
        "all": ["pose", "dino", "mae"],
    }
    assert len(stores.fingerprints) == 3


def test_overrides_reach_the_streams_of_a_list(recipe: Recipe, tmp_path: Path) -> None:
    path = write_space(tmp_path, recipe, CHOICES)
    _, loaded = load_space(path, ["recipe.features.streams=dino+pose"], tmp_path)
    assert loaded.selected_streams == ("dino", "pose")
    with pytest.raises(ConfigError, match="`streams` names `din`; did you mean `dino`"):
        load_space(write_space(tmp_path, recipe, ["pose", "pose+din"]), [], tmp_path)
