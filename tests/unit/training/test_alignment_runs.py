"""Runs of the stage `align`: to the bit, on two ranks, with recall that rises, and handed on."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import safetensors.torch
import torch

from corpus import tiny_corpus, tiny_recipe
from kinesweep.checkpoints.model_dir_files import format_recipe_yaml
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import BundleError, CheckpointError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.evaluation.evaluate import evaluate_model
from kinesweep.evaluation.metrics import build_metric
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.export.bundle import export_bundle
from kinesweep.pipelines.evaluation import evaluate_tasks_of_model_dir
from kinesweep.pipelines.sweeps.winner import export_winner
from kinesweep.store import Store
from kinesweep.store.extraction.build import extract_locally
from kinesweep.sweeps.results.sentence_statistics import compute_run_statistics
from kinesweep.training.loop.run import RunSpec, train_run
from kinesweep.training.run_records.metrics import read_metrics
from kinesweep.training.run_records.result import RunResult
from ranks import run_ranks
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
SIGN_CONTRAST = {"weight": 0.1, "max_distance": 4.0, "min_margin": 4}


class Lab:
    """A sample corpus, and runs on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.corpus = tiny_corpus(folder, 160)
        self.store: Store = extract_locally(self.recipe())

    def recipe(self, stage: str = "align", **more: Any) -> Recipe:
        plain = {"encoder": {"kind": "linear", "standardize": True, "dropout": 0.0}}
        training = {"stage": stage, "sign_contrastive": SIGN_CONTRAST, **more.pop("training", {})}
        if stage == "align":
            training.setdefault("alignment", {"restoration": {"masking": "random"}})
        return tiny_recipe(
            self.corpus,
            self.folder / "stores",
            model={**plain, **more.pop("model", {})},
            training=training,
            **more,
        )

    def train(self, name: str, recipe: Recipe, stop_at: int = 9999, **spec: Any) -> RunResult:
        asked = RunSpec(recipe, self.store.folder, self.folder / name, **spec)
        return train_run(asked, NullRunLogger(), lambda told: told["step"] < stop_at)

    def objective(self, name: str) -> dict[str, torch.Tensor]:
        return safetensors.torch.load_file(self.folder / name / "objective/objective.safetensors")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    made = Lab(tmp_path_factory.mktemp("alignment"))
    made.train("whole", made.recipe())
    return made


def test_it_resumes_to_the_bit(lab: Lab) -> None:
    assert lab.train("parts", lab.recipe(), stop_at=8).status == "stopped"
    checkpoints = sorted((lab.folder / "parts/checkpoints").glob("step-*"))
    held = safetensors.torch.load_file(checkpoints[-1] / "objective.safetensors")
    assert held["num_batches"].tolist() == [8]
    again = lab.train("parts", lab.recipe())
    whole = lab.train("whole", lab.recipe())
    assert again.weights_sha256 == whole.weights_sha256 != ""
    for name, tensor in lab.objective("whole").items():
        assert torch.equal(tensor, lab.objective("parts")[name]), name
    rows = [lab.folder / name / "metrics.jsonl" for name in ("parts", "whole")]
    assert rows[0].read_bytes() == rows[1].read_bytes()


def test_what_it_leaves(lab: Lab) -> None:
    """An ordinary model folder, retrieved sentences instead of translations, scores of clips."""
    whole = lab.train("whole", lab.recipe())
    names = {"contrastive_loss", "restoration_loss", "sign_contrastive_loss"}
    names |= {
        f"{way}_r{k}" for way in ("sign_to_text", "text_to_sign", "chance") for k in (1, 5, 10)
    }
    assert set(whole.scores) == names and set(whole.costs) == {"parameters"}
    saved = safetensors.torch.load_file(whole.folder / "best" / "model.safetensors")
    assert {name.split(".")[0] for name in saved} == {"encoders", "backbone"}
    assert not (whole.folder / "best" / "objective.safetensors").exists()
    clips = {r.clip.id: r.clip.texts for r in lab.store.get_records("validation")}
    predictions = read_predictions(whole.folder / "predictions" / "validation.tsv")
    known = {texts[0] for texts in clips.values()}
    assert all(p.hypothesis in known and p.references == clips[p.clip_id] for p in predictions)
    right = [p.hypothesis == p.references[0] for p in predictions]
    assert whole.scores["sign_to_text_r1"] == pytest.approx(100 * sum(right) / len(right))
    scores = json.loads((whole.folder / "predictions/validation_clip_scores.json").read_text())
    for name in names - {"chance_r1", "chance_r5", "chance_r10"}:
        mean = sum(scores[name].values()) / len(clips)
        assert scores[name].keys() == clips.keys() and mean == pytest.approx(whole.scores[name])


def test_it_is_evaluated_with_its_projections_and_not_exported(lab: Lab, tmp_path: Path) -> None:
    whole = lab.train("whole", lab.recipe())
    found = evaluate_model(whole.folder / "best", lab.store, "validation", device="cpu")
    assert found.scores == pytest.approx(whole.scores) and found.is_retrieval
    assert "sign_to_text_r1" in evaluate_model(whole.folder / "best", lab.store, "test").scores
    with pytest.raises(CheckpointError, match=r"writes no answers yet; train a translation"):
        evaluate_tasks_of_model_dir(lab.folder / "whole", "validation", ["reversed"], [])
    with pytest.raises(BundleError, match=r"stage: align.*`model\.init_from"):
        export_bundle(whole.folder, tmp_path / "bundle", lab.store)
    shutil.copytree(whole.folder / "best", tmp_path / "best")
    with pytest.raises(CheckpointError, match=r"scored with the projections in"):
        evaluate_model(tmp_path / "best", lab.store, "validation")


def test_a_sweep_reads_its_scores_and_hands_its_winner_on(lab: Lab, tmp_path: Path) -> None:
    whole = lab.train("whole", lab.recipe())
    metric = build_metric("contrastive_loss", lab.recipe().evaluation)
    path = whole.folder / "predictions" / "validation.tsv"
    statistics, clip_ids = compute_run_statistics(path, metric)
    assert sorted(r.clip.id for r in lab.store.get_records("validation")) == clip_ids
    found = metric.compute_score_from_sum(statistics.sum(axis=0))
    assert found == pytest.approx(whole.scores["contrastive_loss"])
    outcome = SimpleNamespace(winner_runs=[str(whole.folder)])
    handed = export_winner(outcome, lab.store, tmp_path / "exports" / "winner")
    names = [
        sorted(path.name for path in folder.iterdir()) for folder in (handed, whole.folder / "best")
    ]
    assert names[0] == names[1]
    start = {"init_from": str(handed)}
    few = {"max_steps": 1, "eval_steps": 1}
    assert lab.train("handed", lab.recipe("all", model=start, training=few)).status == "finished"


def test_a_translation_begins_with_it(lab: Lab) -> None:
    whole = lab.train("whole", lab.recipe())
    start = {"init_from": str(whole.folder / "best")}
    still = {"learning_rate": 1e-12, "max_steps": 2, "eval_steps": 2}
    second = lab.train("second", lab.recipe("all", model=start, training=still))
    first, after = (
        safetensors.torch.load_file(run.folder / "best" / "model.safetensors")
        for run in (whole, second)
    )
    assert first.keys() == after.keys()
    assert all(torch.allclose(first[n], after[n], atol=1e-7) for n in first)
    assert set(second.scores) == {"token_loss", "token_accuracy", "bleu", "chrf"}


def test_recall_rises(lab: Lab) -> None:
    """Among the few clips of validation, and well above chance among those of train."""
    quick = {"learning_rate": 1e-2, "max_steps": 60, "eval_steps": 20, "warmup_steps": 10}
    run = lab.train(
        "quick",
        lab.recipe(batch={"batch_size": 32}, training={**quick, "sign_contrastive": None}),
        full_decoding=False,
    )
    rows = [r for r in read_metrics(run.folder / "metrics.jsonl") if "sign_to_text_r1" in r]
    train = evaluate_model(run.folder / "best", lab.store, "train").scores
    for way in ("sign_to_text", "text_to_sign"):
        values = [row[f"{way}_r5"] for row in rows]
        assert values[0] < values[-1] > rows[-1]["chance_r5"], values
        assert train[f"{way}_r5"] > 3 * train["chance_r5"] > 10
    assert rows[-1]["restoration_loss"] < rows[0]["restoration_loss"]


def test_the_sign_contrast_is_part_of_other_stages(lab: Lab) -> None:
    few = {"max_steps": 6, "eval_steps": 3}
    losses = {}
    for name, changes in (("with", {}), ("without", {"sign_contrastive": None})):
        lab.train(name, lab.recipe("all", training={**few, **changes}), full_decoding=False)
        rows = read_metrics(lab.folder / name / "metrics.jsonl")
        losses[name] = [row["loss"] for row in rows if "loss" in row]
    assert all(a > b for a, b in zip(losses["with"], losses["without"], strict=True))


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_two_ranks_learn_what_one_learns(lab: Lab) -> None:
    """All clips of the corpus form one step: one batch of one rank, or two of two ranks."""
    num_clips = len(lab.store.get_records("train"))
    num_clips -= num_clips % 2
    few = {"max_steps": 3, "eval_steps": 3, "optim": "sgd", "learning_rate": 0.5}
    still = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
    plain = lab.recipe().model.backbone.model_dump(mode="json")
    model = {"backbone": {**plain, "scratch": {**plain["scratch"], **still}}}
    drop = {"drop_last": True}
    one = lab.recipe(batch={"batch_size": num_clips, **drop}, model=model, training=few)
    lab.train("one", one)
    for name, fsdp in (("two", False), ("cut", True)):
        two = lab.recipe(
            batch={"batch_size": num_clips // 2, **drop},
            model=model,
            training={**few, "fsdp": fsdp},
            resources={"workers": 2},
        )
        path = lab.folder / f"{name}.yaml"
        path.write_text(format_recipe_yaml(two))
        run_ranks(FLOAT64 + TRAIN, [str(path), str(lab.store.folder), str(lab.folder / name)], 2)
        rows = [read_metrics(lab.folder / run / "metrics.jsonl") for run in ("one", name)]
        losses = [[row["loss"] for row in own if "loss" in row] for own in rows]
        assert_same(losses[1], losses[0])
        scores = [[row["sign_to_text_r10"] for row in r if "sign_to_text_r10" in row] for r in rows]
        assert scores[0] == scores[1] != []
        assert_same_weights(
            *(
                safetensors.torch.load_file(lab.folder / run / "best" / "model.safetensors")
                for run in (name, "one")
            )
        )
        objectives = [lab.objective(run) for run in (name, "one")]
        assert [o.pop("num_batches").tolist() for o in objectives] == [[3], [3]]
        assert_same_weights(*objectives)
