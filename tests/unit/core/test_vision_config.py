"""`model.vision` in recipes: what fits the features, what is trained, what is hashed."""

from pathlib import Path
from typing import Any

import pytest

from corpus import tiny_recipe
from frames import SCRATCH, frames_recipe
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import ConfigError

ENCODER = {"encoder": {"standardize": False}}


def make(tmp_path: Path, **changes: Any) -> Recipe:
    """The recipe of a corpus that no test reads."""
    return frames_recipe(tmp_path, tmp_path, source={"train": "train.tsv"}, **changes)


def problem(tmp_path: Path, **changes: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        make(tmp_path, **changes)
    return str(caught.value)


def vision(**settings: Any) -> dict[str, Any]:
    """The section `model` with a vision model that has other settings."""
    return {"model": {"vision": {"scratch": SCRATCH, **settings}}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": {"vision": None}}, "stream `video` holds decoded frames"),
        ({"features": {"target_fps": 12}, **vision()}, "is 25, but stream `video` holds 12 frames"),
        ({"model": {"encoder": {"standardize": True}}}, "`model.encoder.standardize` needs"),
        (
            {"model": {"encoders": {"video": {"standardize": True}}}},
            "`model.encoders.video.standardize` needs",
        ),
        (vision(pretrained="x"), "give either `pretrained` or `scratch`"),
        (vision(scratch={"hidden_size": 3}), "`scratch` needs `model_type`"),
        (vision(freeze=True, lora={}), "would freeze the adapters of `lora`"),
        (vision(lora={}), "`vision.lora` needs `vision.pretrained` or `init_from`"),
        (vision(windows={"compat": "ssvp"}), "use `compat: none`"),
        (vision(lora={"targets": []}), "`targets` names no layers"),
        (vision(kind="signhiera", scratch={}, from_clip=True), "`from_clip` describes"),
        (vision(kind="signhiera", scratch={}, pool="mean"), "model.vision.pool"),
        ({"model": {"vision": {"scratch": SCRATCH, "freez": True}}}, "did you mean `freeze`"),
        (
            {
                "model": {
                    "vision": {"scratch": SCRATCH, "freeze": True},
                    "freeze": ["encoder", "backbone"],
                }
            },
            "leaves nothing to train",
        ),
    ],
)
def test_what_does_not_fit_is_said_at_once(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    assert said in problem(tmp_path, **changes)


def test_other_features_have_no_vision_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`model.vision` reads decoded frames.*is pose"):
        tiny_recipe(tmp_path, tmp_path, model={"vision": {"scratch": SCRATCH}, **ENCODER})


def test_a_vision_model_alone_can_be_trained(tmp_path: Path) -> None:
    model = {"vision": {"scratch": SCRATCH}, "freeze": ["encoder", "backbone"]}
    assert make(tmp_path, model=model).model.vision is not None


def test_projectors_are_trained_beside_a_frozen_vision_model(tmp_path: Path) -> None:
    model = {"vision": {"pretrained": "x/y", "lora": {}}}
    recipe = make(tmp_path, model=model, training={"stage": "projectors"})
    assert recipe.model.vision.lora is not None and not recipe.model.vision.freeze
    assert recipe.effective_model.vision.freeze and recipe.effective_model.vision.lora is None


def test_paths_are_kept_whole_and_handed_on_as_names(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "model.safetensors").write_bytes(b"weights")
    model = {"vision": {"pretrained": "clip"}}
    recipe = make(tmp_path, model=model).resolve_paths(tmp_path)
    assert recipe.model.vision.pretrained == str(tmp_path / "clip")
    assert recipe.to_portable().model.vision.pretrained == "clip"
    hub = make(tmp_path, model={"vision": {"pretrained": "a/b"}})
    assert hub.resolve_paths(tmp_path).model.vision.pretrained == "a/b"
    assert hub.to_portable().model.vision.sha256 is None


def test_hashes_of_recipes_without_a_vision_model_stay(tmp_path: Path) -> None:
    """The hash of the tiny recipe before the key existed."""
    recipe = tiny_recipe(Path("corpus"), Path("stores"))
    assert recipe.compute_config_hash("store") == "dc7c61deb444"
    assert Recipe.model_validate(recipe.model_dump()) == recipe
