"""Which streams of shards a recipe takes, and what it says of each."""

from pathlib import Path
from typing import Any

import pytest

from corpus import tiny_recipe
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import ConfigError
from shards import h5_corpus


def test_recipes_say_which_streams_are_taken(tmp_path: Path) -> None:
    plain = tiny_recipe(tmp_path, tmp_path).model_dump(mode="json")
    plain |= {"source": h5_corpus(tmp_path), "features": {"kind": "streams"}}
    recipe = validate_config(Recipe, plain, "test")
    assert recipe.selected_streams == ("pose", "dino", "sign2vec") and recipe.required_splits == (
        "validation",
    )
    plain["features"]["streams"] = "sign2vec+pose"
    chosen = validate_config(Recipe, plain, "test")
    assert chosen.selected_streams == ("sign2vec", "pose")
    assert chosen.effective_source.stream_names == ("sign2vec", "pose")  # type: ignore[union-attr]
    assert validate_config(Recipe, chosen.model_dump(mode="json"), "test") == chosen
    portable = chosen.to_portable()
    assert (
        str(tmp_path) not in portable.model_dump_json()
        and portable.selected_streams == chosen.selected_streams
    )
    bad: list[tuple[dict[str, Any], str]] = [
        ({"features": {"kind": "streams", "streams": ["mae"]}}, r"names mae, but .* pose, dino"),
        (
            {"features": {"kind": "streams", "streams": "pose+pose"}},
            "lists a stream twice: pose, pose",
        ),
        ({"features": {"kind": "precomputed"}}, "needs `features.kind: streams`"),
        ({"source": {**plain["source"], "train": "train.json"}}, r"annotation\.\{token\}\.json"),
        ({"source": {**plain["source"], "streams": []}}, r"streams"),
        (
            {"source": {**plain["source"], "streams": [{"name": "pose"}]}},
            r"streams\[0\]\.fps *miss",
        ),
    ]
    for part, text in bad:
        with pytest.raises(ConfigError, match=text):
            validate_config(Recipe, {**plain, **part}, "test")


def test_what_is_said_of_a_stream_counts_where_it_is_taken(tmp_path: Path) -> None:
    """One recipe serves a search over streams; a stream that the source has not stays an error."""
    plain = tiny_recipe(tmp_path, tmp_path).model_dump(mode="json")
    plain |= {"source": h5_corpus(tmp_path), "features": {"kind": "streams", "streams": "pose"}}
    caps = {"pose": 3, "dino": 4, "poes": 5}
    plain["batch"]["truncate_frames"] = caps
    plain["model"]["encoders"] = {name: {"kind": "linear", "gain": True} for name in caps}
    alone = validate_config(Recipe, plain, "test")
    assert alone.effective_batch.truncate_frames == {"pose": 3, "poes": 5}
    assert set(alone.effective_model.encoders) == {"pose", "poes"}
    both = alone.model_dump(mode="json") | {"features": {"kind": "streams"}}
    assert validate_config(Recipe, both, "test").effective_batch.truncate_frames == caps
    assert set(validate_config(Recipe, both, "test").effective_model.encoders) == set(caps)
