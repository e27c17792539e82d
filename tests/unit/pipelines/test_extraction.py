"""Without Ray, features that exist are used; poses are not looked for again."""

from pathlib import Path

import pytest

from corpus import tiny_corpus, tiny_recipe
from kinesweep.config.recipe import Recipe
from kinesweep.pipelines import pose_estimation
from kinesweep.pipelines.extraction import extract_features


def test_extracted_features_need_no_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    estimated: list[Recipe] = []
    monkeypatch.setattr(pose_estimation, "estimate_corpus_poses", estimated.append)
    corpus = tiny_corpus(tmp_path, clips=24)
    values = tiny_recipe(corpus, tmp_path / "stores").model_dump(mode="json")
    # The poses are there already; the videos that they would be estimated from are not.
    values["source"] |= {"root": str(corpus), "videos": str(tmp_path / "videos")}
    recipe = Recipe.model_validate(values)
    assert recipe.pose_estimation_source is not None
    store = extract_features(recipe, on_ray=False)
    assert len(estimated) == 1
    assert extract_features(recipe, on_ray=False).fingerprint == store.fingerprint
    assert len(estimated) == 1
