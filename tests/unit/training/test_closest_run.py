"""Runs that learn the closest of several references: to the bit, and on any number of ranks."""

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch

from corpus import tiny_recipe
from kinesweep.checkpoints.model_dir import read_model_folder
from kinesweep.checkpoints.model_dir_files import format_recipe_yaml
from kinesweep.config.recipe import Recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.store import Store
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.loop.run import RunSpec, train_run
from kinesweep.training.run_records.metrics import read_metrics
from kinesweep.training.run_records.result import RunResult
from ranks import run_ranks
from shards import h5_corpus
from tolerances import FLOAT64, assert_same, assert_same_weights

pytestmark = pytest.mark.integration

TRAIN = """
from kinesweep.config.loading import load_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.training.loop.run import RunSpec, train_run
recipe = load_config(Recipe, Path(sys.argv[1]))
spec = RunSpec(recipe, Path(sys.argv[2]), Path(sys.argv[3]))
print(json.dumps(train_run(spec, NullRunLogger(), lambda _: True).scores))
"""


class Lab:
    """Clips with one to three texts each, and runs on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = h5_corpus(folder / "h5", clips=5)
        self._drop_some(folder / "h5" / "annotation.train.json")
        self.store: Store = extract_locally(self.recipe(), root=folder / "stores")

    def recipe(self, reference_choice: str = "min_loss", **more: Any) -> Recipe:
        size = {"d_model": 16, "dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
        size |= {"encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "encoder_layers": 1}
        size |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "decoder_layers": 1}
        size |= {"encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0}
        backbone = {"kind": "seq2seq", "scratch": {"architecture": "m2m_100", **size}}
        made = tiny_recipe(
            self.folder,
            self.folder / "stores",
            batch={"batch_size": 2, "reference_choice": reference_choice, **more.pop("batch", {})},
            model={"encoder": {"kind": "linear", "dropout": 0.0}, "backbone": backbone},
            **more,
        )
        plain = {"source": self.source, "features": {"kind": "streams"}}
        return Recipe.model_validate({**made.model_dump(mode="json"), **plain})

    def train(self, name: str, recipe: Recipe, stop_at: int = 99) -> RunResult:
        spec = RunSpec(recipe, self.store.folder, self.folder / name)
        return train_run(spec, NullRunLogger(), lambda told: told["step"] < stop_at)

    def _drop_some(self, path: Path) -> None:
        plain = json.loads(path.read_text())
        for video in plain.values():
            for place, name in enumerate(video["clip_order"]):
                video[name]["paraphrases"] = video[name]["paraphrases"][: place % 3]
        path.write_text(json.dumps(plain))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("min_loss"))


def test_it_repeats_and_resumes_to_the_bit_with_any_loader(lab: Lab) -> None:
    counts = {len(record.clip.texts) for record in lab.store.get_records("train")}
    assert counts == {1, 2, 3}
    whole = lab.train("whole", lab.recipe())
    assert lab.train("parts", lab.recipe(), stop_at=8).status == "stopped"
    assert lab.train("parts", lab.recipe()).weights_sha256 == whole.weights_sha256 != ""
    loaded = lab.recipe(batch={"loader_workers": 1})
    assert lab.train("loaded", loaded).weights_sha256 == whole.weights_sha256
    first = lab.train("first", lab.recipe("first"))
    assert first.weights_sha256 != whole.weights_sha256


@pytest.mark.parametrize("reference_choice", ["random", "each", "min_loss"])
def test_every_text_that_may_be_learnt_has_its_words(lab: Lab, reference_choice: str) -> None:
    name = f"words_{reference_choice}"
    lab.train(name, lab.recipe(reference_choice, training={"max_steps": 1, "eval_steps": 1}))
    text = read_model_folder(lab.folder / name / "best").tokenizer
    said = {
        text.decode(text.encode_text(t))
        for r in lab.store.get_records("train")
        for t in r.clip.texts
    }
    assert said == {t for r in lab.store.get_records("train") for t in r.clip.texts}


def test_where_no_clip_has_a_second_text_it_is_the_first(
    recipe: Recipe, store: Store, tmp_path: Path, whole: RunResult
) -> None:
    batch = recipe.batch.model_copy(update={"reference_choice": "min_loss"})
    closest = recipe.model_copy(update={"batch": batch})
    found = train_run(RunSpec(closest, store.folder, tmp_path), NullRunLogger(), lambda _: True)
    assert found.weights_sha256 == whole.weights_sha256 != ""


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_two_ranks_learn_what_one_learns(lab: Lab) -> None:
    """A step of two ranks and one of two accumulated batches see the same clips."""
    one = lab.recipe(training={"gradient_accumulation_steps": 2, "optim": "sgd"})
    two = lab.recipe(training={"optim": "sgd"}, resources={"workers": 2})
    lab.train("one", one)
    path = lab.folder / "two.yaml"
    path.write_text(format_recipe_yaml(two))
    run_ranks(FLOAT64 + TRAIN, [str(path), str(lab.store.folder), str(lab.folder / "two")], 2)
    rows = [read_metrics(lab.folder / name / "metrics.jsonl") for name in ("one", "two")]
    losses = [[row["loss"] for row in own if "loss" in row] for own in rows]
    assert_same(losses[0], losses[1])
    assert len(losses[0]) == 6
    ours, theirs = (
        safetensors.torch.load_file(lab.folder / name / "best" / "model.safetensors")
        for name in ("one", "two")
    )
    assert_same_weights(ours, theirs)
