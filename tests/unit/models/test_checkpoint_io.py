import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel

from fresh_process import run_fresh
from kinesweep.config.recipe.model import ModelConfig
from kinesweep.core.batch import Batch
from kinesweep.core.errors import CheckpointError
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models import KinesweepConfig, Translator, build_translator
from kinesweep.models.checkpoint_io import load_checkpoint_weights

pytestmark = pytest.mark.integration

Make = Callable[..., Translator]
FRESH = """
import sys, torch
from transformers import AutoModel
import kinesweep.models
model = AutoModel.from_pretrained(sys.argv[1])
inputs = torch.load(sys.argv[2], weights_only=True)
with torch.no_grad():
    logits = model(**inputs).logits
del inputs["labels"]
torch.save({"logits": logits, "ids": model.generate(**inputs, num_beams=3)}, sys.argv[3])
"""


@pytest.fixture
def saved(translator: Make, tmp_path: Path) -> tuple[Translator, Path]:
    model = translator("bart", smoothing=0.1).eval()
    model.save_pretrained(tmp_path / "model")
    return model, tmp_path / "model"


@pytest.mark.parametrize("architecture", ["m2m_100", "bart", "t5"])
def test_reload_is_exact_in_a_fresh_process(
    translator: Make, batch: Batch, tmp_path: Path, architecture: str
) -> None:
    torch.set_num_threads(1)
    model = translator(architecture, smoothing=0.1).eval()
    model.save_pretrained(tmp_path / "model")
    torch.save(batch.get_forward_kwargs(), tmp_path / "inputs.pt")
    paths = [str(tmp_path / name) for name in ("model", "inputs.pt", "outputs.pt")]
    done = run_fresh(FRESH, paths)
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == "", "reading a model is quiet"
    outputs = torch.load(paths[2], weights_only=True)
    with torch.no_grad():
        assert torch.equal(outputs["logits"], model(**batch.get_forward_kwargs()).logits)
    assert torch.equal(outputs["ids"], model.generate(**batch.get_generate_kwargs(), num_beams=3))


@pytest.mark.parametrize("architecture", ["m2m_100", "bart", "t5"])
def test_tied_weights_are_stored_once_and_tied_again(
    translator: Make, tmp_path: Path, architecture: str
) -> None:
    model = translator(architecture)
    model.save_pretrained(tmp_path)
    rows = [key for key, value in load_file(tmp_path / "model.safetensors").items()
            if value.shape == (30, 16)]  # fmt: skip
    assert len(rows) == 1
    again = Translator.from_pretrained(tmp_path).backbone
    assert again.lm_head.weight is again.get_input_embeddings().weight


def test_statistics_travel_with_the_model(
    recipe: Callable[..., ModelConfig], words: Vocabulary, tmp_path: Path
) -> None:
    statistics = {"pose": (torch.arange(5.0).numpy(), torch.full((5,), 4.0).numpy())}
    model = build_translator(recipe(), {"pose": 5}, words, statistics=statistics)
    model.save_pretrained(tmp_path)
    encoder = Translator.from_pretrained(tmp_path).encoders["pose"]
    assert encoder.mean.tolist() == [0, 1, 2, 3, 4]
    assert encoder.scale.tolist() == [0.25] * 5


def test_equal_models_save_equal_bytes(translator: Make, tmp_path: Path) -> None:
    for name in ("a", "b"):
        translator("t5").save_pretrained(tmp_path / name)
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_configuration_keeps_streams_in_order(saved: tuple[Translator, Path]) -> None:
    config = AutoConfig.from_pretrained(saved[1])
    assert isinstance(config, KinesweepConfig)
    assert list(config.get_stream_widths().items()) == [("pose", 5), ("dino", 3)]
    assert config.label_smoothing == 0.1
    assert config.get_model_config() == saved[0].config.get_model_config()
    assert list(AutoModel.from_pretrained(saved[1]).encoders) == ["pose", "dino"]


def edited(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> str:
    """What loading says after a change of the weights."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError) as caught:
        Translator.from_pretrained(folder)
    return str(caught.value)


def test_missing_weights_are_an_error(saved: tuple[Translator, Path]) -> None:
    for key in ("encoders.pose.linear.weight", "backbone.model.encoder.layers.0.fc1.bias"):
        saved[0].save_pretrained(saved[1])
        assert f"missing `{key}`" in edited(saved[1], lambda weights, key=key: weights.pop(key))


def test_weights_too_many_are_an_error(saved: tuple[Translator, Path]) -> None:
    text = edited(saved[1], lambda weights: weights.update(adapter=torch.zeros(2)))
    assert "unexpected `adapter`" in text


def test_weights_of_another_shape_are_an_error(saved: tuple[Translator, Path]) -> None:
    key = "encoders.dino.linear.weight"
    assert key in edited(saved[1], lambda weights: weights.update({key: torch.zeros(16, 4)}))


def test_a_damaged_file_is_an_error(saved: tuple[Translator, Path]) -> None:
    path = saved[1] / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        Translator.from_pretrained(saved[1])


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        Translator.from_pretrained(tmp_path)


def test_a_pickle_is_not_read(saved: tuple[Translator, Path]) -> None:
    model, folder = saved
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError):
        Translator.from_pretrained(folder)


def test_no_path_of_this_machine_is_saved(saved: tuple[Translator, Path]) -> None:
    text = (saved[1] / "config.json").read_text()
    assert str(saved[1]) not in text
    assert json.loads(text)["model_type"] == "kinesweep"


def test_a_checkpoint_that_cannot_be_read_is_named(
    translator: Make, saved: tuple[Translator, Path], tmp_path: Path
) -> None:
    model, folder = saved
    load_checkpoint_weights(model, folder)
    path = folder / "model.safetensors"
    weights = {name: tensor.clone() for name, tensor in load_file(path).items()}
    name = next(name for name in weights if name.startswith("encoders."))
    for change in ("other shape", "missing key", "damaged", "no file"):
        if change == "other shape":
            save_file({**weights, name: torch.zeros(77)}, path)
        elif change == "missing key":
            save_file({key: value for key, value in weights.items() if key != name}, path)
        elif change == "damaged":
            path.write_bytes(b"\x00" * 100)
        else:
            path.unlink()
        with pytest.raises(CheckpointError, match=str(folder)):
            load_checkpoint_weights(model, folder)
