"""Runs with a vision model that learns: bits, ranks, shards, stages, learning rates, precision."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import Dinov2Model

from frames import SCRATCH, frames_recipe
from kinesweep.checkpoints.model_dir_files import format_recipe_yaml
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import CheckpointError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.models import Translator
from kinesweep.store import Store
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.loop.parameter_groups import split_parameter_groups
from kinesweep.training.loop.run import RunResult, RunSpec, train_run
from kinesweep.training.run_records.metrics import read_metrics
from ranks import run_ranks
from tolerances import FLOAT64, assert_same, assert_same_weights
from vision import film_corpus, vision_model

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
STILL = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}


class Lab:
    """The frames of six little films, a DINOv2 for them, and runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.films = film_corpus(folder / "corpus", train=4, validation=2)
        self.model = vision_model(folder / "dinov2", "dinov2")
        self.pretrained = Dinov2Model.from_pretrained(self.model).state_dict()
        self.store: Store = extract_locally(self.recipe(), root=folder / "stores")

    def recipe(
        self, vision: dict[str, Any] | None = None, model: dict[str, Any] | None = None, **more: Any
    ) -> Recipe:
        size = {"d_model": 16, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, **STILL}
        size |= {f"{part}_layers": 1 for part in ("encoder", "decoder")}
        size |= {f"{part}_attention_heads": 2 for part in ("encoder", "decoder")}
        size |= {f"{part}_layerdrop": 0.0 for part in ("encoder", "decoder")}
        plain = {
            "encoder": {"kind": "linear", "dropout": 0.0, "standardize": False},
            "backbone": {"kind": "seq2seq", "scratch": {"architecture": "m2m_100", **size}},
            "vision": {"pretrained": str(self.model), **(vision or {})},
            **(model or {}),
        }
        training = {"max_steps": 4, "eval_steps": 2, **more.pop("training", {})}
        root = self.folder / "stores"
        return frames_recipe(
            self.films, root, batch={"batch_size": 2}, model=plain, training=training, **more
        )

    def train(self, name: str, recipe: Recipe, stop_at: int = 99) -> RunResult:
        spec = RunSpec(recipe, self.store.folder, self.folder / name)
        return train_run(spec, NullRunLogger(), lambda told: told["step"] < stop_at)

    def weights(self, name: str) -> dict[str, torch.Tensor]:
        return load_file(self.folder / name / "best" / "model.safetensors")

    def vision_weights(self, name: str) -> dict[str, torch.Tensor]:
        """The weights of a run's vision model, named as in the folder of the pretrained one."""
        start = "vision.network.model."
        return {k.removeprefix(start): v for k, v in self.weights(name).items() if start in k}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("vision_runs"))


def test_it_resumes_to_the_bit(lab: Lab) -> None:
    vision = {"learning_rate": 3e-3, "gradient_checkpointing": True, "batch": 1}
    whole = lab.train("whole", lab.recipe(vision))
    assert lab.train("parts", lab.recipe(vision), stop_at=2).status == "stopped"
    assert lab.train("parts", lab.recipe(vision)).weights_sha256 == whole.weights_sha256 != ""
    kept = lab.train("kept", lab.recipe({**vision, "gradient_checkpointing": False}))
    assert kept.weights_sha256 == whole.weights_sha256
    before = lab.pretrained
    learnt = lab.vision_weights("whole")
    assert learnt.keys() == before.keys()
    moved = {name for name in before if not torch.equal(before[name], learnt[name])}
    assert before.keys() - moved == {"embeddings.mask_token"}


def test_a_frozen_model_stays_and_is_saved(lab: Lab) -> None:
    result = lab.train("frozen", lab.recipe({"freeze": True, "learning_rate": 1.0}))
    before, after = lab.pretrained, lab.vision_weights("frozen")
    assert all(torch.equal(before[name], after[name]) for name in before)
    loaded = Translator.from_pretrained(result.folder / "best")
    assert not any(p.requires_grad for p in loaded.vision.parameters())
    frozen, trained = (lab.recipe({"freeze": freeze}) for freeze in (True, False))
    hashes = [r.compute_config_hash("store") for r in (frozen, trained)]
    assert hashes[0] != hashes[1]
    assert (
        lab.recipe({"freeze": True, "learning_rate": 1.0}).compute_config_hash("store") == hashes[0]
    )


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_two_ranks_and_their_shards_learn_what_one_learns(lab: Lab) -> None:
    """A step of two ranks and one of two accumulated batches see the same clips."""
    tuned = {"optim": "sgd", "learning_rate": 0.1}
    # Not pretrained: Hugging Face reads saved weights by the types that the fixture replaces.
    vision = {"pretrained": None, "scratch": SCRATCH, "learning_rate": 5.0, "batch": 1}
    lab.train("one", lab.recipe(vision, training={**tuned, "gradient_accumulation_steps": 2}))
    for name, fsdp in (("two", False), ("cut", True)):
        asked = lab.recipe(vision, training={**tuned, "fsdp": fsdp}, resources={"workers": 2})
        path = lab.folder / f"{name}.yaml"
        path.write_text(format_recipe_yaml(asked))
        run_ranks(FLOAT64 + TRAIN, [str(path), str(lab.store.folder), str(lab.folder / name)], 2)
        rows = [read_metrics(lab.folder / run / "metrics.jsonl") for run in ("one", name)]
        losses = [[row["loss"] for row in own if "loss" in row] for own in rows]
        assert_same(losses[1], losses[0])
        assert_same_weights(lab.weights(name), lab.weights("one"))
    assert (lab.vision_weights("one")["layernorm.weight"] - 1).abs().max() > 1e-4


def test_its_learning_rate_is_its_own(lab: Lab) -> None:
    lab.train("slow", lab.recipe({"learning_rate": 1e-9}))
    before, after = lab.pretrained, lab.vision_weights("slow")
    assert all((before[n] - after[n]).abs().max() < 1e-7 for n in before)
    model = Translator.from_pretrained(lab.folder / "slow" / "best")
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], lr=1e-3
    )
    split_parameter_groups(optimizer, model, {})
    split_parameter_groups(optimizer, model, {})
    groups = [(g["lr"], g["weight_decay"]) for g in optimizer.param_groups]
    assert groups == [(1e-3, 0.1), (1e-3, 0.0), (1e-9, 0.1), (1e-9, 0.0)]
    ids = {id(p) for g in optimizer.param_groups[2:] for p in g["params"]}
    assert ids == {id(p) for p in model.vision.parameters()}
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len([*model.parameters()])


def test_bf16_and_adapters_learn(lab: Lab) -> None:
    lora = {"rank": 2, "dropout": 0.1}
    result = lab.train("adapted", lab.recipe({"lora": lora}, training={"precision": "bf16"}))
    assert result.status == "finished" and 0 < result.scores["token_loss"] < 9
    before, after = lab.pretrained, lab.vision_weights("adapted")
    base = {name.replace(".base_layer.", "."): value for name, value in after.items()}
    assert all(torch.equal(before[name], base[name]) for name in before)
    adapters = [value for name, value in after.items() if "lora_B" in name]
    assert adapters and all(value.any() for value in adapters)


def test_stages_hand_the_vision_model_on(lab: Lab) -> None:
    """Projectors beside a frozen vision model, then everything, from the first stage's weights."""
    first = lab.train("first", lab.recipe(training={"stage": "projectors"}))
    before, after = lab.pretrained, lab.vision_weights("first")
    assert all(torch.equal(before[name], after[name]) for name in before)
    start = {"init_from": str(first.folder)}
    lora = {"lora": {"rank": 2}}
    assert lab.train("second", lab.recipe(lora, start)).status == "finished"
    windows = {"windows": {"num_frames": 8}}
    with pytest.raises(CheckpointError, match=r"its `model.vision.windows` is num_frames=16"):
        lab.train("other", lab.recipe(windows, start))
    bigger = {"model_type": "dinov2", "hidden_size": 16, "num_attention_heads": 2}
    bigger |= {"num_hidden_layers": 2, "patch_size": 8, "image_size": 16, "mlp_ratio": 3}
    with pytest.raises(CheckpointError, match="vision model has another configuration"):
        lab.train("bigger", lab.recipe({"pretrained": None, "scratch": bigger}, start))


def test_weights_are_part_of_the_identity(lab: Lab, tmp_path: Path) -> None:
    """Not their folder; and a run does not go on with other weights than it began with."""
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    for path in lab.model.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    recipe = lab.recipe().resolve_paths(Path("/"))
    moved = lab.recipe({"pretrained": str(copy)}).resolve_paths(Path("/"))
    assert recipe.model.vision.sha256 == moved.model.vision.sha256 is not None
    assert recipe.compute_config_hash("s") == moved.compute_config_hash("s")
    assert lab.recipe().compute_config_hash("s") == recipe.compute_config_hash("s")
    assert recipe.to_portable().compute_config_hash("s") == recipe.compute_config_hash("s")
    assert recipe.to_portable().model.vision.pretrained == "dinov2"
    vision_model(tmp_path / "new", "dinov2", width=32)
    weights = tmp_path / "new" / "model.safetensors"
    (copy / "model.safetensors").write_bytes(weights.read_bytes())
    assert lab.recipe({"pretrained": str(copy)}).compute_config_hash(
        "s"
    ) != recipe.compute_config_hash("s")
    with pytest.raises(CheckpointError, match="whose weights have changed"):
        lab.train("changed", moved)
