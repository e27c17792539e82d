"""Runs of kind `clip`: killed and resumed, over two ranks, and started from masked autoencoding."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from fresh_process import FreshProcess
from kinesweep.core.errors import ConfigError, InputError
from kinesweep.core.io import read_json
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.features.encoders.signhiera_network import load_signhiera
from kinesweep.store import Store
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.pretraining.run import PretrainingSpec, pretrain_run
from kinesweep.training.run_records.metrics import read_metrics
from kinesweep.training.run_records.result import RunResult
from pretraining import SECTIONS, pretraining_recipe
from ranks import run_ranks
from vision import film_corpus

pytestmark = pytest.mark.integration

_BERT = {
    **{"architecture": "bert", "hidden_size": 16, "num_hidden_layers": 1},
    **{"num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 16},
}
_CLIP = {
    **{"kind": "clip", "width": 8, "mask_ratio": 0.75, "mae": SECTIONS["objective"]},
    "text": {
        "scratch": {**_BERT, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
        "tokenizer": {"kind": "train", "algorithm": "word", "size": 32},
        "max_tokens": 16,
    },
    "gradnorm": {"learning_rate": 0.05},
}
_BATCH = {"repeats": 1}
_RUN = """
import json, os, signal, sys
from pathlib import Path
from kinesweep.config.pretraining_recipe import PretrainingRecipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.training.pretraining.run import PretrainingSpec, pretrain_run
recipe = PretrainingRecipe.model_validate_json(Path(sys.argv[1]).read_text())
kill_at = int(sys.argv[4])
def report(measured):
    if measured["step"] == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return True
spec = PretrainingSpec(recipe, Path(sys.argv[2]), Path(sys.argv[3]))
result = pretrain_run(spec, NullRunLogger(), report)
print(json.dumps([result.status, result.weights_sha256]))
"""


class Films:
    """Little films with texts, and their store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.corpus = film_corpus(folder / "corpus", train=5, validation=3)
        self.store: Store = extract_locally(self.recipe().corpus_recipe)

    def recipe(self, objective: dict[str, Any] | None = None, **changes: Any):
        recipe = pretraining_recipe(self.corpus, self.folder / "stores")
        values = recipe.model_dump(mode="json", exclude={"objective"})
        values["objective"] = objective or _CLIP
        values["batch"] |= _BATCH
        for section, keys in changes.items():
            values[section] |= keys
        return type(recipe).model_validate(values)

    def run(self, place: Path, report=lambda _: True, **changes: Any) -> RunResult:
        spec = PretrainingSpec(self.recipe(**changes), self.store.folder, place)
        return pretrain_run(spec, NullRunLogger(), report)

    def arguments(self, folder: Path, place: Path, kill_at: int, **changes: Any) -> list[str]:
        (folder / "recipe.json").write_text(self.recipe(**changes).model_dump_json())
        return [str(folder / "recipe.json"), str(self.store.folder), str(place), str(kill_at)]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Films:
    return Films(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def finished(films: Films) -> RunResult:
    return films.run(films.folder / "finished")


def values_of(run: Path, name: str) -> list[float]:
    return [row[name] for row in read_metrics(run / "metrics.jsonl") if name in row]


def test_best_holds_encoder_objective_tokenizer_and_scores(finished: RunResult) -> None:
    best = finished.folder / "best"
    encoder = load_signhiera(best / "model.safetensors", from_clip=False)
    others = load_file(best / "objective.safetensors")
    assert {"decoder.mask_token", "gradnorm.weights", "temperature.log_scale"} <= set(others)
    assert not set(others) & set(encoder.state_dict())
    assert (best / "text_tokenizer" / "tokenizer.json").is_file()
    sums = read_json(best / "clip_sums.json")
    assert len(sums["recall_1"]) == 3
    total, count = (sum(entry[place] for entry in sums["masked_loss"].values()) for place in (0, 1))
    assert total / count == pytest.approx(finished.scores["masked_loss"])
    mean = np.mean([entry[0] for entry in sums["recall_1"].values()])
    assert mean == pytest.approx(finished.scores["recall_1"])
    weights = values_of(finished.folder, "mae_weight")
    assert len(weights) == 6 and len(set(weights)) > 3  # GradNorm learned


def test_a_killed_run_continues_to_the_bit(
    films: Films, finished: RunResult, tmp_path: Path
) -> None:
    """The state of GradNorm is among the weights of the objective."""
    killed = FreshProcess(_RUN, films.arguments(tmp_path, tmp_path / "run", 4), {}).wait(300)
    assert killed.returncode == -9 and not (tmp_path / "run" / "result.json").exists()
    films.run(tmp_path / "run")
    for name in ("metrics.jsonl", "best/model.safetensors", "best/objective.safetensors"):
        first, second = (run / name for run in (finished.folder, tmp_path / "run"))
        assert first.read_bytes() == second.read_bytes(), name


def test_two_ranks_equal_one(films: Films, finished: RunResult, tmp_path: Path) -> None:
    batch = {"windows": 2, "repeats": 1}
    arguments = films.arguments(tmp_path, tmp_path / "two", -1, batch=batch)
    ended = run_ranks(_RUN, arguments, 2)
    assert ended[0] == ended[1]
    for name in ("loss", "train_contrastive_loss", "train_masked_loss", "mae_weight"):
        ours, theirs = (values_of(run, name) for run in (tmp_path / "two", finished.folder))
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, err_msg=name)
    # Weights without a gradient (biases of keys) follow the last bits, which AdamW scales up.
    for name in ("contrastive_loss", "masked_loss"):
        ours, theirs = (values_of(run, name) for run in (tmp_path / "two", finished.folder))
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, err_msg=name)


def test_it_starts_from_masked_autoencoding(films: Films, tmp_path: Path) -> None:
    masked = films.run(tmp_path / "mae", objective=SECTIONS["objective"])
    best = masked.folder / "best"
    objective = {
        **_CLIP,
        "mae": {**SECTIONS["objective"], "init_from": str(best / "objective.safetensors")},
    }
    model = {"scratch": None, "init_from": str(best / "model.safetensors")}
    training = {"max_steps": 1, "eval_steps": 1, "learning_rate": 1e-12}
    started = films.run(
        tmp_path / "clip", objective=objective, model=model, training=training, batch={"windows": 5}
    )
    # Nothing was learned in this step, so the loss of validation is where the other run left it.
    assert started.scores["masked_loss"] == pytest.approx(masked.scores["masked_loss"], rel=1e-4)


def test_what_a_contrastive_loss_cannot_use_is_refused(films: Films, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="accumulated batches do not see"):
        films.recipe(training={"gradient_accumulation_steps": 2})
    text = {**_CLIP["text"], "max_tokens": 17}
    with pytest.raises(ConfigError, match=r"objective\.text\.max_tokens"):
        films.run(tmp_path / "long", objective={**_CLIP, "text": text})
    corpus = film_corpus(tmp_path / "silent", train=2, validation=1)
    table = corpus / "train.tsv"
    table.write_text(table.read_text().replace("This is film 1.", ""))
    source = {"allow_empty_texts": True, "train": str(table)}
    source["validation"] = str(corpus / "validation.tsv")
    recipe = films.recipe(source=source)
    store = extract_locally(recipe.corpus_recipe)
    with pytest.raises(InputError, match="1 of 2 clips in `train` have no text"):
        spec = PretrainingSpec(recipe, store.folder, tmp_path / "run")
        pretrain_run(spec, NullRunLogger(), lambda _: True)


def test_hashes_replace_paths(films: Films, finished: RunResult, tmp_path: Path) -> None:
    best = finished.folder / "best"
    model = {"scratch": None, "init_from": str(best / "model.safetensors")}
    here = films.recipe(model=model).resolve_paths(tmp_path)
    (tmp_path / "copy.safetensors").write_bytes((best / "model.safetensors").read_bytes())
    there = films.recipe(model={**model, "init_from": "copy.safetensors"}).resolve_paths(tmp_path)
    assert there.model.init_from == str(tmp_path / "copy.safetensors")
    assert here.compute_config_hash("x") == there.compute_config_hash("x")
    other = films.recipe().compute_config_hash("x")
    assert other != here.compute_config_hash("x")
