"""Checkpoints of SSVP-SLT, built in each of their three layouts, imported, equal in logits."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kinesweep.checkpoints.model_dir import read_model_folder
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import CheckpointError
from kinesweep.interop import import_ssvp
from ssvp import LAYOUTS, OUT, WIDTH, Change, check_equal, imported, make_theirs, recipe_of


@pytest.mark.parametrize("layout", LAYOUTS)
def test_equal_logits(tmp_path: Path, layout: str) -> None:
    theirs = make_theirs(tmp_path / "theirs", layout)
    imported(tmp_path, layout)
    check_equal(theirs, tmp_path / "ours")


def renamed(old: str, new: str) -> Change:
    def change(state: dict[str, Tensor]) -> None:
        for name in [name for name in state if old in name]:
            state[name.replace(old, new, 1)] = state.pop(name)

    return change


def wrapped(word: str) -> Change:
    def change(state: dict[str, Tensor]) -> None:
        for name in list(state):
            state[word + name] = state.pop(name)

    return change


@pytest.mark.parametrize(
    ("layout", "change"),
    [
        ("t5", wrapped("module.")),
        ("t5", wrapped("module.model.")),
        ("t5", wrapped("backbone.")),
        ("t5", renamed("encoder.feature_projection.", "")),
        ("bart", wrapped("backbone.")),
        ("bart", renamed("model.encoder.feature_projection.", "")),
        ("tarres", wrapped("module.")),
        ("tarres", renamed("transformer.", "")),
        ("tarres", renamed("transformer_layers", "layers")),
    ],
)
def test_other_names_of_the_same(tmp_path: Path, layout: str, change: Change) -> None:
    theirs = make_theirs(tmp_path / "theirs", layout, change)
    imported(tmp_path, layout)
    check_equal(theirs, tmp_path / "ours")


def test_features_that_are_given_are_the_stream(tmp_path: Path) -> None:
    """Manifest and features as in `ssvp_t5`."""
    theirs = make_theirs(tmp_path / "theirs", "t5")
    plain = recipe_of("t5").model_dump(mode="json")
    plain["source"] = {"kind": "feature_manifest", "train": "manifests/train_features.tsv"}
    plain["features"] = {"kind": "precomputed", "stream": "hiera"}
    path, words = tmp_path / "theirs/best_model.pth", str(tmp_path / "theirs/tokenizer")
    model = import_ssvp(path, Recipe.model_validate(plain), tmp_path / "ours", words)
    assert torch.equal(model.encoders["hiera"].linear.weight, theirs.linear.weight)
    ours = read_model_folder(tmp_path / "ours")
    assert ours.features["streams"]["hiera"]["width"] == WIDTH


def test_tensors_alone_without_a_dictionary_around_them(tmp_path: Path) -> None:
    theirs = make_theirs(tmp_path / "theirs", "t5")
    torch.save(theirs.named(), tmp_path / "theirs/best_model.pth")
    imported(tmp_path, "t5")
    check_equal(theirs, tmp_path / "ours")


def without(name: str) -> Change:
    def change(state: dict[str, Tensor]) -> None:
        del state[name]

    return change


PROJECTION = {
    "t5": "encoder.feature_projection.feature_proj",
    "bart": "model.encoder.feature_projection.feature_proj",
    "tarres": "transformer.encoder.feat_proj",
}
INNER = {
    "t5": ("encoder.block.1.layer.0.SelfAttention.q.weight",) * 2,
    "bart": ("model.encoder.layers.1.fc1.weight",) * 2,
    "tarres": ("transformer.encoder.transformer_layers.1.fc1.weight", "model.encoder.layers.1.fc1"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_missing_an_extra_and_a_misshapen_tensor_are_named(tmp_path: Path, layout: str) -> None:
    theirs, ours = INNER[layout]
    bias = PROJECTION[layout] + ".bias"
    changes: list[tuple[Change, str]] = [
        (without(bias), r"`encoders\.pose\.linear\.bias` is missing"),
        (without(theirs), rf"{ours}.*` is missing"),
        (
            lambda state: state.update({"odd.weight": torch.ones(1)}),
            r"`odd\.weight` is not part of the model",
        ),
        (
            lambda state: state.update({bias: torch.ones(3)}),
            r"linear\.bias` is \(3,\), not \(16,\)",
        ),
        (lambda state: state.update({theirs: torch.ones(2, 2)}), rf"{ours}.* is \(2, 2\)"),
    ]
    for number, (change, said) in enumerate(changes):
        folder = tmp_path / str(number)
        folder.mkdir()
        make_theirs(folder / "theirs", layout, change)
        with pytest.raises(CheckpointError, match=said):
            imported(folder, layout)
        assert not (folder / "ours").exists()


def test_tied_tensors_that_differ_are_refused(tmp_path: Path) -> None:
    """As when a recipe ties the output, and the checkpoint's is its own."""

    def change(state: dict[str, Tensor]) -> None:
        state["lm_head.weight"] = state["lm_head.weight"] + 1

    make_theirs(tmp_path / "theirs", "bart", change)
    with pytest.raises(CheckpointError, match=r"lm_head.* differs from .* the model ties to it"):
        imported(tmp_path, "bart")


def test_two_names_of_one_tensor_are_refused(tmp_path: Path) -> None:
    def change(state: dict[str, Tensor]) -> None:
        state["feature_proj.bias"] = torch.ones(OUT)

    make_theirs(tmp_path / "theirs", "t5", change)
    with pytest.raises(CheckpointError, match=r"two tensors stand for `encoders\.pose\.linear"):
        imported(tmp_path, "t5")


def test_a_recipe_without_gain_has_no_place_for_theirs(tmp_path: Path) -> None:
    for layout in LAYOUTS:
        make_theirs(tmp_path / layout, layout)
        (tmp_path / layout).rename(tmp_path / "theirs")
        with pytest.raises(CheckpointError, match=r"`encoders\.pose\.gain` is not part"):
            imported(tmp_path, layout, gain=False)
        (tmp_path / "theirs").rename(tmp_path / f"{layout}_done")


def test_tarres_norm_has_no_place_in_m2m_100(tmp_path: Path) -> None:
    make_theirs(tmp_path / "theirs", "tarres")
    plain = recipe_of("tarres").model_dump(mode="json")
    plain["model"]["backbone"]["scratch"]["architecture"] = "m2m_100"
    path, words = tmp_path / "theirs/best_model.pth", str(tmp_path / "theirs/tokenizer")
    with pytest.raises(CheckpointError, match=r"layernorm_embedding\.weight` is not part"):
        import_ssvp(path, Recipe.model_validate(plain), tmp_path / "ours", words)


class Runs:
    """Something that would run when a pickle is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("it_ran",)


def test_nothing_in_the_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_theirs(tmp_path / "theirs", "t5")
    torch.save({"model": {}, "cfg": Runs()}, tmp_path / "theirs/best_model.pth")
    with pytest.raises(CheckpointError, match="never built"):
        imported(tmp_path, "t5")
    assert not Path("it_ran").exists()


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ([1], "neither `model` nor named tensors"),
        ({"model": {}}, "neither `model` nor named tensors"),
        ({"model": {"a": 1}}, "`a`, which is not a tensor"),
        ({"model": {"a": torch.ones(1)}}, "no projection of features"),
    ],
)
def test_files_of_another_kind(tmp_path: Path, held: Any, said: str) -> None:
    make_theirs(tmp_path / "theirs", "t5")
    torch.save(held, tmp_path / "theirs/best_model.pth")
    with pytest.raises(CheckpointError, match=said):
        imported(tmp_path, "t5")
