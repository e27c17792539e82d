"""Runs with references: what they bring, one path in training and generation, stages, refusals."""

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from corpus import tiny_recipe
from deviations import deviation_corpus
from kinesweep.checkpoints.model_dir import read_model_folder
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import CheckpointError, ConfigError, InputError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.core.skeleton.skeleton import SMPL_22
from kinesweep.data.text_tokenizer import build_tokenizer
from kinesweep.data.train_dataset import TrainDataset
from kinesweep.evaluation.evaluate import evaluate_loaded_model
from kinesweep.store import Store
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.loop.run import RunResult, RunSpec, train_run

pytestmark = pytest.mark.integration

LEAST = 20.0
"""BLEU that true references must be better than wrong ones."""


class Lab:
    """A corpus with references, the same clips without, and runs on both."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sources = {
            True: deviation_corpus(folder / "with"),
            False: deviation_corpus(folder / "without", references=False),
        }
        self.stores: dict[bool, Store] = {
            held: extract_locally(self.recipe(held=held), root=folder / f"stores_{held}")
            for held in (True, False)
        }

    def recipe(self, held: bool = True, **changes: Any) -> Recipe:
        """`held`: with references; `changes`: sections, `model` laid over this one."""
        model = {"encoder": {"kind": "linear", "dropout": 0.1}, **changes.pop("model", {})}
        training = {"max_steps": 2, "eval_steps": 2, **changes.pop("training", {})}
        made = tiny_recipe(
            self.folder, self.folder / "stores", model=model, training=training, **changes
        )
        plain = {"source": self.sources[held], "features": {"kind": "streams"}}
        return Recipe.model_validate({**made.model_dump(mode="json"), **plain})

    def train(self, name: str, recipe: Recipe, held: bool = True) -> RunResult:
        spec = RunSpec(recipe, self.stores[held].folder, self.folder / name)
        return train_run(spec, NullRunLogger(), lambda _: True)


class Wrong:
    """A store whose clips have the references of others; only as long as their own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        records = store.get_records("validation")
        self._other = {
            a.clip.id: b for a, b in zip(records, records[1:] + records[:1], strict=True)
        }

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def get_features(self, record: Any) -> dict[str, Any]:
        own = dict(self._store.get_features(record))
        other_TD = self._store.get_features(self._other[record.clip.id])["reference"]
        return own | {"reference": other_TD[[t % len(other_TD) for t in range(len(own["pose"]))]]}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("references"))


def bleu(lab: Lab, run: str, wrong: bool) -> float:
    store: Any = Wrong(lab.stores[True]) if wrong else lab.stores[True]
    return evaluate_loaded_model(
        read_model_folder(lab.folder / run / "best"), store, "validation"
    ).scores["bleu"]


def weights(lab: Lab, run: str) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(lab.folder / run / "best" / "model.safetensors")


LONG = {"max_steps": 350, "eval_steps": 350, "learning_rate": 4e-3, "label_smoothing_factor": 0.0}
PLAIN = {"kind": "linear", "dropout": 0.1, "norm_in": False}
GRAPH = {"kind": "stgcn", "channels": 4, "blocks": 2, "kernel": 3, "hops": 1, "dropout": 0.0}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "encoder"),
    [("both", PLAIN), ("subtract", PLAIN), ("both", GRAPH)],
)
def test_true_references_tell_what_wrong_ones_do_not(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, mode: str, encoder: dict[str, Any]
) -> None:
    known = "kinesweep.training.loop.components.find_skeletons"  # shards say nothing of points
    monkeypatch.setattr(known, lambda *_: {"pose": SMPL_22})
    model = {"reference": {"mode": mode}, "encoder": encoder}
    name = f"{mode}_{encoder['kind']}"
    result = lab.train(name, lab.recipe(model=model, training=LONG, batch={"batch_size": 24}))
    true, wrong = bleu(lab, name, False), bleu(lab, name, True)
    print(
        f"{name}: BLEU {true:.1f} with true references, {wrong:.1f} with wrong ones,"
        f" {result.seconds:.1f} s"
    )
    assert true >= wrong + LEAST


def test_a_stage_of_captions_is_taken_over_whole(lab: Lab) -> None:
    """First each clip is its own reference; then there are references, and nothing is new."""
    held = {"reference": {"mode": "both"}}
    lab.train("captions", lab.recipe(held=False, model=held), held=False)
    first = weights(lab, "captions")
    begun = {**held, "init_from": str(lab.folder / "captions" / "best")}
    recipe = lab.recipe(model=begun)
    result = lab.train("coached", recipe)
    assert result.weights_sha256 == lab.train("again", recipe).weights_sha256 != ""
    second = weights(lab, "coached")
    assert set(first) == set(second) and "reference.join.weight" in first
    assert not any(".reference." in name for name in first), "it has no encoder of its own"
    # Of zero differences nothing is learnt, but of true ones.
    other = slice(first["reference.join.weight"].shape[0], None)
    built = read_model_folder(lab.folder / "captions" / "best").model
    assert (
        list(built.config.get_encoder_widths())
        == ["pose"]
        == list(built.config.get_stream_widths())
    )
    moved = second["reference.join.weight"] - first["reference.join.weight"]
    assert moved[:, other].abs().max() > 0


def test_the_stream_of_references_is_new_where_they_are_meant_and_only_there(lab: Lab) -> None:
    held = {"reference": {"mode": "concat"}}
    lab.train("plain", lab.recipe(held=False), held=False)
    lab.train("own", lab.recipe(held=False, model=held), held=False)
    begun = {name: {"init_from": str(lab.folder / name / "best")} for name in ("plain", "own")}
    lab.train("new", lab.recipe(model={"reference": {"mode": "subtract"}, **begun["plain"]}))
    refused: list[tuple[dict[str, Any], str]] = [
        (begun["plain"], "it reads `pose` .66., and this model reads `pose` .66., `reference`"),
        ({**held, **begun["plain"]}, "its `model.reference` is none, not .*concat"),
        ({"reference": {"mode": "both"}, **begun["own"]}, "is .*concat.*, not .*both"),
        (begun["own"], "it reads `pose`"),
    ]
    for at, (model, said) in enumerate(refused):
        with pytest.raises(CheckpointError, match=said):
            lab.train(f"refused{at}", lab.recipe(model=model))
    with pytest.raises(CheckpointError, match=r"concat.*, not none"):
        lab.train("refused", lab.recipe(held=False, model=begun["own"]), held=False)


def test_a_clip_that_is_not_in_step_is_found_before_training(lab: Lab) -> None:
    apart = {"truncate_frames": {"pose": 4, "reference": 3}}
    recipe = lab.recipe(model={"reference": {}}, batch=apart)
    with pytest.raises(InputError, match=r"has 4 frames of `pose`, but . of `reference`; \d+"):
        lab.train("apart", recipe)


def test_a_reference_is_cut_where_its_motion_is(lab: Lab) -> None:
    """In a stage of captions too, where there is none yet."""
    held = {"reference": {"mode": "both"}}
    for limits in ({"pose": 4}, {"pose": 4, "reference": 4}):
        recipe = lab.recipe(model=held, batch={"truncate_frames": limits})
        assert recipe.effective_batch.truncate_frames == {"pose": 4, "reference": 4}
        assert lab.train(f"cut{len(limits)}", recipe).status == "finished"
        assert lab.train(f"early{len(limits)}", recipe, held=False).status == "finished"


def test_clips_without_references_are_said_to_be_their_own(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    lab.train("said", lab.recipe(held=False, model={"reference": {}}), held=False)
    assert "each clip is its own reference" in caplog.text
    with pytest.raises(ConfigError, match="`subtract` of a clip from itself is zero"):
        recipe = lab.recipe(held=False, model={"reference": {"mode": "subtract"}})
        lab.train("zero", recipe, held=False)


def test_both_streams_are_varied_alike(lab: Lab) -> None:
    recipe = lab.recipe(
        model={"reference": {}},
        batch={"augmentation": {"drop_frames": 0.4, "speed": 0.3}, "batch_size": 24},
    )
    text = build_tokenizer(recipe.model.tokenizer, lab.stores[True].get_records("train"), None)
    found = []
    for alike in (recipe.motion_stream_by_reference, None):
        batch = TrainDataset(
            lab.stores[True], text, recipe.effective_batch, 1, augmentation_pairs=alike
        )[0]
        found.append((batch.streams["pose"] - batch.streams["reference"]).abs().mean())
    assert found[0] < 0.75 * found[1], "frames of other moments"


def test_modes_are_searched_and_old_names_of_configurations_stay(lab: Lab) -> None:
    plain = lab.recipe()
    named = {plain.compute_config_hash("store")}
    for mode in ("subtract", "concat", "both"):
        found = lab.recipe(model={"reference": {"mode": mode}})
        named.add(found.compute_config_hash("store"))
    assert len(named) == 4
    without = plain.model_dump(mode="json")
    del without["model"]["reference"]
    assert Recipe.model_validate(without).compute_config_hash("store") == plain.compute_config_hash(
        "store"
    )
