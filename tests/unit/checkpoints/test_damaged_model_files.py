"""Files of a model folder that are damaged give an error that names them, not a traceback.

The fuzzer (`make fuzz`) found each of them in a bundle whose manifest agrees with its files.
"""

import json
import math
from pathlib import Path

import pytest
from pydantic import ValidationError

from kinesweep.checkpoints import model_dir
from kinesweep.checkpoints.model_dir_files import read_feature_description
from kinesweep.config.recipe.resources import ResourcesConfig
from kinesweep.core.errors import CheckpointError, InputError
from kinesweep.features.texts.hf_tokenizer import read_tokenizer
from kinesweep.models.backbones import BACKBONES


@pytest.mark.parametrize("content", [b"{", b"\xff{}", b"[1]", b"", b"[" * 100_000])
def test_features_json(tmp_path: Path, content: bytes) -> None:
    for name in ("config.json", "recipe.yaml"):
        (tmp_path / name).touch()
    (tmp_path / "features.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"features\.json"):
        read_feature_description(tmp_path)


def test_tokenizer_json(tmp_path: Path) -> None:
    parts = ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    model = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}
    token = {"id": 0, "content": "a", "special": True}  # without the key `normalized`
    content = {"version": "1.0", **dict.fromkeys(parts), "added_tokens": [token], "model": model}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "TokenizersBackend"}')
    with pytest.raises(InputError, match="has no tokenizer that can be loaded"):
        read_tokenizer(str(tmp_path))


class OddError(Exception):
    """Of no family that could be listed, as those of huggingface_hub's dataclasses."""


@pytest.mark.parametrize("error", [OddError("a field"), TypeError("sizm"), RuntimeError("size")])
def test_a_configuration_that_describes_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    for name in ("config.json", "recipe.yaml", "model.safetensors"):
        (tmp_path / name).touch()
    (tmp_path / "features.json").write_text("{}")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(model_dir, "check_model_folder", lambda _: None)
    monkeypatch.setattr(model_dir.Translator, "from_pretrained", fail)
    with pytest.raises(CheckpointError, match=r"cannot be built from its `config\.json`") as caught:
        model_dir.read_model_folder(tmp_path)
    assert caught.value.__cause__ is error and type(error).__name__ in str(caught.value)


@pytest.mark.parametrize("error", [MemoryError(), CheckpointError("weights are missing")])
def test_errors_that_say_what_is_wrong_stay_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(model_dir, "check_model_folder", lambda _: None)
    monkeypatch.setattr(model_dir.Translator, "from_pretrained", fail)
    with pytest.raises(type(error)) as caught:
        model_dir.read_model_folder(tmp_path)
    assert caught.value is error


@pytest.mark.parametrize("kind", list(BACKBONES))
def test_backbone_without_a_model_type(kind: str) -> None:
    with pytest.raises(CheckpointError, match="no `model_type`"):
        BACKBONES[kind].create_from_saved_config({})


@pytest.mark.parametrize("gpus", [math.inf, math.nan, 1.5])
def test_impossible_numbers_of_gpus(gpus: float) -> None:
    with pytest.raises(ValidationError):
        ResourcesConfig(gpus=gpus)
