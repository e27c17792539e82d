"""Runs with graph encoders: bits, stops, and adapters on an earlier run's weights."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from corpus import tiny_recipe
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import CheckpointError, ConfigError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.core.skeleton.skeleton import ROOT, Skeleton
from kinesweep.models import Translator
from kinesweep.models.lora import is_adapter_weight
from kinesweep.store import Store
from kinesweep.training.loop.run import RunResult, RunSpec, train_run
from kinesweep.training.run_records.metrics import read_metrics
from ranks import run_ranks
from trees import over

pytestmark = pytest.mark.integration

SMALL: dict[str, dict[str, Any]] = {
    "stgcn": {"channels": 2, "blocks": 2, "kernel": 3, "hops": 1},
    "stagcn": {
        **{"features": [2], "attention": [4], "perception": [3], "head": 4, "graphs": 2},
        **{"kernel": 3, "hops": 1},
    },
    "part_graph": {"channels": 2, "blocks": 1, "kernel": 3, "share_hands": False},
}


FIND = "kinesweep.models.streams.find_skeleton"


@pytest.fixture(autouse=True)
def chains(store: Store, monkeypatch: pytest.MonkeyPatch) -> Skeleton:
    """The skeleton that all points are found to have."""
    layout = store.schema.streams["pose"].layout
    assert layout is not None
    found = over(layout)
    monkeypatch.setattr(FIND, lambda _: found)
    return found


def recipe(corpus: Path, store: Store, kind: str, **changes: Any) -> Recipe:
    """A short run; `changes` are keys of the encoder, but for `init_from` and `seed`."""
    model: dict[str, Any] = {"init_from": changes.pop("init_from", None)}
    training = {"max_steps": 4, "eval_steps": 2, "seed": changes.pop("seed", 5)}
    model["encoder"] = {"kind": kind, "dropout": 0.2, **SMALL.get(kind, {}), **changes}
    return tiny_recipe(corpus, store.folder.parent, model=model, training=training)


def train(recipe: Recipe, store: Store, folder: Path, until: int = 99) -> RunResult:
    spec = RunSpec(recipe, store.folder, folder)
    return train_run(spec, NullRunLogger(), lambda metrics: metrics["step"] < until)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "best" / "model.safetensors")


@pytest.mark.parametrize("kind", SMALL)
def test_equal_seeds_give_equal_bits_stopped_or_not(
    corpus: Path, store: Store, tmp_path: Path, kind: str
) -> None:
    pooling = "skeleton" if kind == "part_graph" else "both"
    asked = recipe(corpus, store, kind, velocity=True, pooling=pooling)
    whole = train(asked, store, tmp_path / "whole")
    assert train(asked, store, tmp_path / "parts", until=2).status == "stopped"
    ended = train(asked, store, tmp_path / "parts")
    assert ended.weights_sha256 == whole.weights_sha256 != "" and ended.scores == whole.scores
    losses = [
        r["token_loss"] for r in read_metrics(tmp_path / "whole/metrics.jsonl") if "bleu" in r
    ]
    assert losses[-1] < losses[0]
    other = recipe(corpus, store, kind, velocity=True, pooling=pooling, seed=6)
    assert train(other, store, tmp_path / "other").weights_sha256 != whole.weights_sha256


def test_a_model_knows_its_skeleton_and_its_statistics(
    corpus: Path,
    store: Store,
    tmp_path: Path,
    chains: Skeleton,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train(recipe(corpus, store, "stagcn"), store, tmp_path / "run")
    monkeypatch.setattr(FIND, lambda _: None)  # whoever reads a model needs no table
    model = Translator.from_pretrained(tmp_path / "run" / "best")
    assert model.config.get_skeleton("pose") == chains
    state, saved = model.state_dict(), weights(tmp_path / "run")
    assert all(torch.equal(state[name], tensor) for name, tensor in saved.items())
    moved = [name for name in saved if name.endswith("running_var") and (saved[name] != 1).any()]
    assert len(moved) == sum(name.endswith("running_var") for name in saved) > 0
    assert model.encoders["pose"].mean.abs().max() > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", SMALL)
def test_adapters_on_an_earlier_run_learn_and_the_rest_stays(
    corpus: Path, store: Store, tmp_path: Path, kind: str
) -> None:
    train(recipe(corpus, store, kind), store, tmp_path / "first")
    begun = str(tmp_path / "first" / "best")
    asked = recipe(corpus, store, kind, lora={"rank": 2}, init_from=begun)
    whole = train(asked, store, tmp_path / "second")
    one, two = weights(tmp_path / "first"), weights(tmp_path / "second")
    two = {name.replace(".base_layer.", "."): tensor for name, tensor in two.items()}
    encoder = {name for name in two if name.startswith("encoders.")}
    new = {name for name in encoder if is_adapter_weight(name)}
    assert set(two) - set(one) == new
    changed = {name for name in encoder - new if not torch.equal(one[name], two[name])}
    assert changed == {f"encoders.pose.project.{what}" for what in ("weight", "bias")}
    learnt = [name for name in new if "lora_B" in name and two[name].any()]
    assert len(learnt) == len(new) / 2 > 0
    model = Translator.from_pretrained(tmp_path / "second" / "best")
    free = {name for name, p in model.encoders.named_parameters() if p.requires_grad}
    assert {name for name in free if not is_adapter_weight(name)} == {
        "pose.project.weight",
        "pose.project.bias",
    }
    assert train(asked, store, tmp_path / "parts", until=2).status == "stopped"
    assert train(asked, store, tmp_path / "parts").weights_sha256 == whole.weights_sha256


def test_an_earlier_encoder_that_differs_is_refused(
    corpus: Path,
    store: Store,
    tmp_path: Path,
    chains: Skeleton,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    adapted = {"lora": {"rank": 2}}
    train(recipe(corpus, store, "stgcn"), store, tmp_path / "first")
    begun = {"init_from": str(tmp_path / "first" / "best")}
    train(recipe(corpus, store, "stgcn", **adapted, **begun), store, tmp_path / "second")
    again = {"init_from": str(tmp_path / "second" / "best")}
    refused: list[tuple[dict[str, Any], str]] = [
        ({"pooling": "time", **begun}, "`pooling` skeleton, not time"),
        ({"lora": {"rank": 2, "alpha": 1.0}, **again}, r"`lora` \{.*32.*not .*1\.0"),
        ({"lora": {"rank": 3}, **again}, "has the shape"),
        (again, "does not exist in this model"),
    ]
    for at, (changes, said) in enumerate(refused):
        with pytest.raises(CheckpointError, match=said):
            train(recipe(corpus, store, "stgcn", **changes), store, tmp_path / f"bad{at}")
    parents = (*chains.parents[:-1], ROOT)
    monkeypatch.setattr(FIND, lambda _: replace(chains, parents=parents))
    with pytest.raises(CheckpointError, match="has the skeleton `over`, or bones that differ"):
        train(recipe(corpus, store, "stgcn", **begun), store, tmp_path / "bad")


def test_a_stream_without_a_skeleton_is_refused_before_training(
    corpus: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FIND, lambda _: None)
    with pytest.raises(ConfigError) as caught:
        train(recipe(corpus, store, "stgcn"), store, tmp_path / "run")
    said = str(caught.value)
    assert "model.encoder.kind" in said and "`stgcn` needs to know" in said
    assert "stream `pose` (534 values per frame)" in said
    assert "`POSE_LANDMARKS` (8: LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_ELBOW …)" in said
    assert "Known skeletons: `smpl_22` (22)" in said


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"encoder": {"kind": "stgcn", "lora": {}}}, "`encoder.lora` needs `init_from`"),
        (
            {"encoders": {"pose": {"kind": "stagcn", "lora": {}}}},
            "`encoders.pose.lora` needs `init_from`",
        ),
        (
            {"encoder": {"kind": "stgcn", "lora": {}}, "init_from": "x", "freeze": ["encoder"]},
            "would freeze the adapters of `encoder.lora`",
        ),
    ],
)
def test_adapters_that_cannot_be(
    corpus: Path, store: Store, model: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        tiny_recipe(corpus, store.folder.parent, model=model)


TWO = """
import kinesweep.core.skeleton.skeleton
from kinesweep.config.recipe import Recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.training.loop.run import RunSpec, train_run

asked, store, folder, skeleton = sys.argv[1:]
known = kinesweep.core.skeleton.skeleton.Skeleton.from_json(json.loads(Path(skeleton).read_text()))
kinesweep.core.skeleton.skeleton.SKELETONS = {known.name: known}
recipe = Recipe.model_validate_json(Path(asked).read_text())
result = train_run(RunSpec(recipe, Path(store), Path(folder)), NullRunLogger(), lambda _: True)
print(json.dumps(result.to_json()))
"""


@pytest.mark.slow
def test_two_workers_learn_alike_cut_or_whole(
    corpus: Path, store: Store, tmp_path: Path, chains: Skeleton
) -> None:
    """Norms share their sums; sharded weights and whole ones end at the same scores."""
    (tmp_path / "skeleton.json").write_text(json.dumps(chains.to_json()))
    scores = {}
    for name, fsdp in (("whole", False), ("cut", True)):
        asked = recipe(corpus, store, "stagcn", dropout=0.0)
        training = asked.training.model_copy(update={"fsdp": fsdp})
        resources = asked.resources.model_copy(update={"workers": 2})
        asked = asked.model_copy(update={"training": training, "resources": resources})
        (tmp_path / "asked.json").write_text(asked.model_dump_json())
        places = [
            tmp_path / "asked.json",
            store.folder,
            tmp_path / name,
            tmp_path / "skeleton.json",
        ]
        first, second = run_ranks(TWO, [str(place) for place in places], 2)
        assert first["scores"] == second["scores"] and first["status"] == "finished"
        scores[name] = first["scores"]["token_loss"]
    assert scores["cut"] == pytest.approx(scores["whole"], rel=1e-4)
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    for key in one:
        if "running" in key:
            torch.testing.assert_close(one[key], two[key], rtol=1e-3, atol=1e-4)
