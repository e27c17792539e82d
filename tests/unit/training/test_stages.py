"""Sign_LLaVA's two stages on a corpus in its layout: projectors, then adapters, then raw files."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import pytest
import safetensors.torch
import torch
import yaml
from typer.testing import CliRunner

from kinesweep.checkpoints.model_dir import read_model_folder
from kinesweep.cli import app
from kinesweep.config.loading import load_config, validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.clip import Clip
from kinesweep.core.errors import CheckpointError, ConfigError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.evaluation.evaluate import evaluate_loaded_model
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.export.bundle import export_bundle
from kinesweep.export.raw_inputs import Input
from kinesweep.export.translate import Bundle
from kinesweep.store import Store
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.loop.initial_weights import load_initial_tokenizer
from kinesweep.training.loop.run import RunResult, RunSpec, train_run
from shards import h5_corpus

pytestmark = pytest.mark.integration

RECIPES = Path(__file__).parents[3] / "jobs" / "recipes"
FEW = ["training.max_steps=6", "training.eval_steps=3", "training.warmup_steps=1", "tracking=none"]


class Lab:
    """A corpus, its store, and runs of the twins on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        h5_corpus(folder / "h5")
        self.store: Store = extract_locally(self.recipe("pretrain"), root=folder / "stores")

    def recipe(self, stage: str, *overrides: str) -> Recipe:
        name = f"signllava_{stage}_tiny"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KINESWEEP_H5", str(self.folder / "h5"))
            patch.setenv("KINESWEEP_STAGE1", str(self.folder / "pretrain"))
            return load_config(Recipe, RECIPES / f"{name}.yaml", [*FEW, *overrides])

    def train(self, name: str, stage: str, *overrides: str, **spec: Any) -> RunResult:
        recipe = self.recipe(stage, *overrides).resolve_paths(Path.cwd())
        where = RunSpec(recipe, self.store.folder, self.folder / name, **spec)
        return train_run(where, NullRunLogger(), lambda _: True)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    made = Lab(tmp_path_factory.mktemp("stages"))
    made.train("pretrain", "pretrain")
    made.train("finetune", "finetune", full_decoding=True)
    return made


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / "best" / "model.safetensors")


def plain(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.replace(".base_layer.", "."): tensor for name, tensor in tensors.items()}


def test_the_first_stage_trains_projectors_alone(lab: Lab) -> None:
    first = read_model_folder(lab.folder / "pretrain" / "best").model
    trained = {name.split(".")[0] for name, p in first.named_parameters() if p.requires_grad}
    assert trained == {"encoders", "fusion"}
    assert not any("lora" in name for name in weights(lab.folder / "pretrain"))


def test_the_second_begins_where_the_first_ended(lab: Lab) -> None:
    one, two = weights(lab.folder / "pretrain"), plain(weights(lab.folder / "finetune"))
    assert set(two) > set(one)
    assert all("lora_" in name for name in set(two) - set(one))
    for name, tensor in one.items():
        stays = name.startswith("backbone.")
        assert torch.equal(tensor, two[name]) == stays, name
    moved = [name for name in two if "lora_B" in name and two[name].abs().max() > 0]
    assert len(moved) == 14  # of two layers seven each


def test_a_raw_file_says_what_the_run_said(lab: Lab) -> None:
    """First clips of documents: they have no context, which a raw file alone has not either."""
    said = said_by(lab)
    firsts = [r.clip for r in lab.store.get_records("validation") if r.clip.order == 0]
    assert len(firsts) == 2
    bundle = export_bundle(lab.folder / "finetune", lab.folder / "bundle", lab.store)
    files = [raw_file(lab, clip) for clip in firsts]
    assert Bundle.load(bundle).translate(files) == [said[clip.id] for clip in firsts]


@pytest.mark.slow
def test_the_files_of_a_document_say_what_the_run_said(lab: Lab, tmp_path: Path) -> None:
    said = said_by(lab)
    bundle = export_bundle(lab.folder / "finetune", tmp_path / "bundle", lab.store)
    clips = [r.clip for r in lab.store.get_records("validation")]
    names = list(dict.fromkeys(clip.document for clip in clips))
    for name in names:
        mine = [clip for clip in clips if clip.document == name]
        files = [str(raw_file(lab, clip)) for clip in mine]
        told = CliRunner().invoke(app, ["translate", str(bundle), *files, "--document"])
        assert told.stdout.splitlines() == [
            f"{file}\t{said[clip.id]}" for file, clip in zip(files, mine, strict=True)
        ]
        assert "without the context" not in told.stderr
        alone = CliRunner().invoke(app, ["translate", str(bundle), *files])
        assert "without the context" in alone.stderr and "--document" in alone.stderr
        assert alone.stdout.splitlines()[0] == told.stdout.splitlines()[0]
        assert alone.stdout != told.stdout, "what it wrote before says nothing to this model"
    # Documents beside each other, as a table gives them: the same texts, in the list's order.
    mixed = [Input(raw_file(lab, c), document=c.document, order=c.order) for c in clips[::-1]]
    loaded = Bundle.load(bundle)
    assert loaded.translate(mixed) == [said[clip.id] for clip in clips[::-1]]
    context = loaded.loaded.recipe.context.model_copy(update={"decoding_context": "none"})
    recipe = loaded.loaded.recipe.model_copy(update={"context": context})
    deaf = replace(loaded, loaded=replace(loaded.loaded, recipe=recipe))
    assert deaf.translate(mixed) == loaded.translate([item.file for item in mixed])


def said_by(lab: Lab) -> dict[str, str]:
    """Clip id → what the second stage wrote of validation."""
    lines = read_predictions(lab.folder / "finetune" / "predictions" / "validation.tsv")
    return {line.clip_id: line.hypothesis for line in lines}


def raw_file(lab: Lab, clip: Clip) -> Path:
    """A clip of validation as a file of its own."""
    file = lab.folder / f"{clip.id.replace('/', '_')}.h5"
    with h5py.File(file, "w") as out:
        for stream in ("pose", "dino", "sign2vec"):
            for shard in sorted((lab.folder / "h5" / stream).glob("*.dev.*.h5")):
                with h5py.File(shard) as held:
                    if clip.document in held:
                        name = clip.id.rpartition("/")[2]
                        out[stream] = held[clip.document][name][()]
    return file


def _renamed(folder: Path) -> None:
    path = folder / "config.json"
    held = json.loads(path.read_text())
    held["streams"][1][0] = "face"
    path.write_text(json.dumps(held))


def test_a_bundle_s_tokenizer_is_known_by_its_folder_s_name(lab: Lab, tmp_path: Path) -> None:
    """A bundle says nothing of the machine that its tokenizer's folder lay on."""
    shutil.copytree(lab.folder / "pretrain" / "best", tmp_path / "stage1")
    path = tmp_path / "stage1" / "recipe.yaml"
    plain = yaml.safe_load(path.read_text())
    plain["model"]["tokenizer"] = {"kind": "folder", "path": "words"}
    path.write_text(yaml.safe_dump(plain))

    def load(place: str) -> TextTokenizer:
        own = lab.recipe("finetune").model_dump(mode="json")
        own["model"]["tokenizer"] = {"kind": "folder", "path": place}
        recipe = validate_config(Recipe, own, "test")
        return load_initial_tokenizer(tmp_path / "stage1", recipe.model.tokenizer, recipe.prompt)

    assert load("/elsewhere/words").vocabulary.size > 4
    with pytest.raises(CheckpointError, match=r"whose `model\.tokenizer` is"):
        load("/elsewhere/others")


def _turned(folder: Path) -> None:
    path = folder / "config.json"
    held = json.loads(path.read_text())
    held["streams"].reverse()
    path.write_text(json.dumps(held))


def _missing(folder: Path) -> None:
    path = folder / "model.safetensors"
    held = safetensors.torch.load_file(path)
    del held["encoders.dino.linear.weight"]
    safetensors.torch.save_file(held, path, {"format": "pt"})


@pytest.mark.parametrize(
    ("spoil", "overrides", "error"),
    [
        (
            _renamed,
            [],
            r"it reads `pose` \(8\), `face` \(12\), .*this model reads `pose` \(8\), `dino`",
        ),
        (_missing, [], r"it has no `encoders.dino.linear.weight`"),
        (None, ["model.encoders.dino.kind=linear"], r"encoder of `dino` is `mlp`, not `linear`"),
        (None, ["model.encoder.hidden=[32]"], r"encoders.pose.hidden.0.weight` has the shape"),
        (None, ["model.encoder.activation=relu"], r"of `pose` has `activation` gelu, not relu"),
        (None, ["model.encoder.downsample=2"], r"encoder of `dino` has `downsample` 1, not 2"),
        (
            _turned,
            [],
            r"it reads `sign2vec` \(6\), `dino` \(12\), `pose` .*this model reads `pose` \(8\)",
        ),
        (None, ["model.fusion.separators=false"], r"its `fusion.*` does not exist in this model"),
        (None, ["model.tokenizer.size=300"], r"whose `model.tokenizer` is .*512.*300"),
        (shutil.rmtree, [], r"which is not a model folder"),
    ],
)
def test_another_first_stage_is_refused_by_name(
    lab: Lab,
    tmp_path: Path,
    spoil: Callable[[Path], None] | None,
    overrides: list[str],
    error: str,
) -> None:
    shutil.copytree(lab.folder / "pretrain" / "best", tmp_path / "stage1")
    if spoil is not None:
        spoil(tmp_path / "stage1")
    with pytest.raises(CheckpointError, match=error):
        lab.train(
            str(tmp_path / "run"), "finetune", f"model.init_from={tmp_path / 'stage1'}", *overrides
        )


def test_a_score_on_the_references_context_says_so(lab: Lab) -> None:
    loaded = read_model_folder(lab.folder / "finetune" / "best")

    def signed(generation: str) -> list[str]:
        context = loaded.recipe.context.model_copy(update={"decoding_context": generation})
        recipe = loaded.recipe.model_copy(update={"context": context})
        found = evaluate_loaded_model(replace(loaded, recipe=recipe), lab.store, "validation")
        assert found.signatures.keys() == {"bleu", "chrf", "rouge"}
        return list(found.signatures.values())

    assert all(how.endswith("|context:gold") for how in signed("references"))
    assert not any("context" in how for how in signed("model"))


def test_a_run_is_named_by_the_weights_it_begins_with(lab: Lab, tmp_path: Path) -> None:
    shutil.copytree(lab.folder / "pretrain" / "best", tmp_path / "moved")

    def name_of(place: Path) -> str:
        return lab.recipe("finetune", f"model.init_from={place}").compute_config_hash("store")

    before = name_of(lab.folder / "pretrain")
    assert name_of(tmp_path / "moved") == before
    resolved = lab.recipe("finetune", f"model.init_from={tmp_path / 'moved'}").resolve_paths(
        Path.cwd()
    )
    assert resolved.compute_config_hash("store") == before
    _missing(tmp_path / "moved")
    assert name_of(tmp_path / "moved") != before
    assert resolved.compute_config_hash("store") == before
    with pytest.raises(CheckpointError, match="have changed since this run was created"):
        train_run(
            RunSpec(resolved, lab.store.folder, tmp_path / "run"), NullRunLogger(), lambda _: True
        )


@pytest.mark.parametrize(
    ("stage", "override", "error"),
    [
        ("pretrain", "training.stage=lora", "needs `model.backbone.lora`"),
        ("pretrain", "model.freeze=[encoder]", "trains the encoders"),
        ("finetune", "model.init_from=null", "random weights would"),
        (
            "finetune",
            "model.backbone.lora.quantize=int8",
            "is int8, but only the weights of `backbone.pretrained`",
        ),
    ],
)
def test_stages_that_cannot_be(lab: Lab, stage: str, override: str, error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        lab.recipe(stage, override)
