"""Projectors that DeepSpeed saved: over our language model, or refused by name."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kinesweep.checkpoints.model_dir import read_model_folder
from kinesweep.cli import main
from kinesweep.config.loading import load_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import CheckpointError, InputError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.interop import import_sign_llava_projectors
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.loop.run import RunSpec, train_run
from llamas import save_llama, tiny_llama
from shards import WIDTHS, h5_corpus

pytestmark = pytest.mark.integration

RECIPES = Path(__file__).parents[3] / "jobs" / "recipes"
OUT = 32


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    h5_corpus(tmp_path / "h5")
    words = ["What was signed before: Translate what is signed:", "So blue house rain river bread."]
    save_llama(tmp_path / "llama", *tiny_llama([*words, "Night!"], width=OUT))
    monkeypatch.setenv("KINESWEEP_H5", str(tmp_path / "h5"))
    return tmp_path


LINEAR = {"kind": "linear", "activation": "none", "dropout": 0.0}
LINEAR |= dict.fromkeys(("standardize", "norm_in", "norm_out"), False)


def recipe_of(corpus: Path, stage: str, *overrides: str, **model: Any) -> Recipe:
    """A twin's recipe over a saved Llama, without separators."""
    overrides = ("tracking=none", *overrides)
    plain = load_config(Recipe, RECIPES / f"signllava_{stage}_tiny.yaml", overrides).model_dump()
    backbone = {**plain["model"]["backbone"], "pretrained": str(corpus / "llama"), "scratch": None}
    given = {"backbone": backbone, "tokenizer": {"kind": "pretrained"}, "fusion": {"kind": "time"}}
    return Recipe.model_validate({**plain, "model": {**plain["model"], **given, **model}})


def projectors(hidden: int | None = 64) -> dict[str, nn.Sequential]:
    torch.manual_seed(1)
    if hidden is None:
        return {name: nn.Sequential(nn.Linear(width, OUT)) for name, width in WIDTHS.items()}
    return {
        name: nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, OUT))
        for name, width in WIDTHS.items()
    }


def saved(place: Path, theirs: dict[str, nn.Sequential], **more: Tensor) -> Path:
    """As DeepSpeed writes what was trained, beside its own facts."""
    module = {
        f"module.base_model.model.mm_projector.{stream}.{name}": tensor
        for stream, projector in theirs.items()
        for name, tensor in projector.state_dict().items()
    }
    held = {"module": {**module, **more}, "ds_version": "0.14.2", "global_steps": 100}
    path = place / "mp_rank_00_model_states.pt"
    torch.save(held, path)
    return path


@pytest.mark.parametrize("hidden", [64, None])
def test_each_projector_gives_their_vectors(corpus: Path, hidden: int | None) -> None:
    theirs = projectors(hidden)
    recipe = recipe_of(corpus, "pretrain", **({"encoder": LINEAR} if hidden is None else {}))
    import_sign_llava_projectors(saved(corpus, theirs), recipe, corpus / "ours")
    ours = read_model_folder(corpus / "ours").model
    for stream, width in WIDTHS.items():
        x_BTD = torch.randn(2, 5, width)
        found, _ = ours.encoders[stream](x_BTD, torch.ones(2, 5, dtype=torch.bool))
        torch.testing.assert_close(found, theirs[stream](x_BTD), rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_second_stage_begins_with_them(corpus: Path) -> None:
    recipe = recipe_of(corpus, "pretrain")
    theirs = projectors()
    arguments = [str(saved(corpus, theirs)), str(corpus / "stage1.yaml")]
    (corpus / "stage1.yaml").write_text(recipe.model_dump_json())
    with pytest.raises(SystemExit) as ended:
        main(["convert", *arguments, "--into", str(corpus / "ours")])
    assert not ended.value.code
    few = ["training.max_steps=2", "training.eval_steps=2", "training.learning_rate=1e-9"]
    second = recipe_of(corpus, "finetune", f"model.init_from={corpus / 'ours'}", *few)
    store = extract_locally(second, root=corpus / "stores")
    train_run(RunSpec(second, store.folder, corpus / "run"), NullRunLogger(), lambda _: True)
    ours = read_model_folder(corpus / "run" / "best").model
    weight = theirs["dino"].state_dict()["2.weight"]
    torch.testing.assert_close(ours.encoders["dino"].linear.weight, weight, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("more", "left", "error"),
    [
        ({"model.embed_tokens.weight": torch.ones(3, 2)}, [], r"embed_tokens.weight`.*no stream"),
        ({"pose_and_dino.weight": torch.ones(3, 2)}, [], r"pose_and_dino.weight`.*several streams"),
        ({"mae_projector.0.weight": torch.ones(3, 2)}, [], r"mae_projector.0.weight`.*no stream"),
        ({}, ["sign2vec"], r"has no projector for the stream `sign2vec`"),
    ],
)
def test_what_does_not_fit_is_named(
    corpus: Path, more: dict[str, Any], left: list[str], error: str
) -> None:
    theirs = {name: part for name, part in projectors().items() if name not in left}
    path = saved(corpus, theirs, **more)
    with pytest.raises(CheckpointError, match=error):
        import_sign_llava_projectors(path, recipe_of(corpus, "pretrain"), corpus / "ours")
    assert not (corpus / "ours").exists()


def test_other_shapes_and_makes_are_named(corpus: Path) -> None:
    for hidden, error in ((48, r"hidden.0.weight` is \(48, 8\), not \(64, 8\)"), (None, "missing")):
        path = saved(corpus, projectors(hidden))
        with pytest.raises(CheckpointError, match=error):
            import_sign_llava_projectors(path, recipe_of(corpus, "pretrain"), corpus / "ours")
    whole = recipe_of(corpus, "pretrain", "training.stage=all")
    with pytest.raises(InputError, match="for a frozen language model"):
        import_sign_llava_projectors(saved(corpus, projectors()), whole, corpus / "ours")
