"""Kinds of ours and of packages: found, validated, identified, and explained if they cannot be."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import torch

from corpus import tiny_recipe
from kinesweep.config.loading import validate_config
from kinesweep.config.parts import (
    FeaturesPart,
    LossPart,
    MetricPart,
    PartConfig,
    SamplerPart,
    SourcePart,
    check_required_parts,
    find_installed_part,
    list_installed_parts,
    list_used_parts,
    read_required_parts,
)
from kinesweep.config.parts import installed_parts as scan
from kinesweep.config.parts.building import find_implementation_problem
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.model import ModelConfig
from kinesweep.config.recipe.model.backbone import BackbonePart
from kinesweep.core.errors import BundleError, ConfigError, InputError
from kinesweep.export.bundle_manifest import check_bundle_files, write_bundle_manifest
from kinesweep.models.losses.cross_entropy import compute_cross_entropy
from kinesweep.models.losses.part_loss import PartLoss
from kinesweep.sources.part_source import FileTableSource
from plugin_package import install_package

MODULE = '''
    from typing import ClassVar, Literal
    from pydantic import Field
    from torch import nn
    from kinesweep.config.parts import EncoderPart, LossPart

    class Encoder(EncoderPart):
        """Its settings."""
        kind: Literal["lab_encoder"] = "lab_encoder"
        implementation: ClassVar[str] = "lab:Layer"
        hidden_units: int = Field(8, ge=1, description="Width.")

    class Layer(nn.Module):
        def __init__(self, config, width, out):
            super().__init__()
        def set_statistics(self, mean_D, deviation_D): ...
        def forward(self, x, mask): return x, mask

    class Linear(Encoder):
        kind: Literal["linear"] = "linear"

    class Ones(LossPart):
        kind: Literal["ones"] = "ones"
        implementation: ClassVar[str] = "lab:OnesLoss"

    class OnesLoss(nn.Module):
        def __init__(self, config, smoothing):
            super().__init__()
        def forward(self, logits, labels): return logits.new_ones(len(labels))

    class Scalar(Ones):
        kind: Literal["scalar"] = "scalar"
        implementation: ClassVar[str] = "lab:ScalarLoss"

    class ScalarLoss(OnesLoss):
        def forward(self, logits, labels): return logits.mean()

    class Lost(Encoder):
        kind: Literal["lost"] = "lost"
        implementation: ClassVar[str] = "lab:Nowhere"

    class Poor(Encoder):
        kind: Literal["poor"] = "poor"
        implementation: ClassVar[str] = "lab:Bare"

    class Bare:
        def forward(self): ...
'''
ENTRY_POINTS = {
    "kinesweep.encoders": {
        "lab_encoder": "Encoder",
        "linear": "Linear",
        "lost": "Lost",
        "poor": "Poor",
        "gone": "Nothing",
        "layer": "Layer",
        "renamed": "Encoder",
    },
    "kinesweep.losses": {"ones": "Ones", "scalar": "Scalar"},
}
BACKBONE = {"kind": "seq2seq", "scratch": {"architecture": "bart"}}
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    def install(module: str = "lab", version: str = "1.0", points: Any = ENTRY_POINTS) -> None:
        install_package(monkeypatch, tmp_path / "site", module, MODULE, points, version)

    return install


def read(encoder: Any) -> ModelConfig:
    return validate_config(ModelConfig, {"encoder": encoder, "backbone": BACKBONE}, "it")


def test_a_part_has_its_own_keys_and_schema(install: Install) -> None:
    install()
    model = read({"kind": "lab_encoder", "hidden_units": 3})
    assert model.model_dump(mode="json")["encoder"] == {"kind": "lab_encoder", "hidden_units": 3}
    assert ModelConfig.model_validate(model.model_dump(mode="json")) == model
    schema = json.dumps(Recipe.model_json_schema())
    assert '"hidden_units": {"default": 8, "description": "Width.", "minimum": 1' in schema
    assert "the part `gone` (kinesweep.encoders) of lab 1.0 cannot be imported" in schema


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ({"kind": "lab_encoder", "hidden_unit": 3}, r"hidden_unit +unknown; did you mean `hidden_"),
        ({"kind": "lab_encoder", "hidden_units": 0}, r"hidden_units +input should be greater"),
        ({"kind": "stgnc"}, r"kind .*'lab_encoder' .lab., .*did you mean `stgcn`"),
        ({"kind": "lab_encodr"}, r"but is 'lab_encodr'; did you mean `lab_encoder`"),
        ({"kind": "gone"}, r"`gone` .kinesweep.encoders. of lab 1.0 cannot be imported from"),
        ({"kind": "layer"}, r"`lab:Layer` is not a configuration of this group"),
        ({"kind": "renamed"}, r"has the `kind` 'lab_encoder'; declare `kind: Literal..renamed"),
        (7, r"must be one of 'linear'.*but is ''"),
    ],
)
def test_what_cannot_be_used_is_said(install: Install, encoder: Any, message: str) -> None:
    install()
    with pytest.raises(ConfigError, match=message):
        read(encoder)


def test_ours_take_precedence_and_are_never_looked_up(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install()
    assert type(read({"kind": "linear"}).encoder).__module__.startswith("kinesweep.")
    monkeypatch.setattr(scan, "entry_points", lambda: pytest.fail("looked up"))
    scan._scan_entry_points.cache_clear()
    assert list_used_parts(read({"kind": "cnn"})) == []


def test_two_packages_with_one_kind_are_both_named(install: Install) -> None:
    install()
    install("other", points={"kinesweep.encoders": {"lab_encoder": "Encoder"}})
    with pytest.raises(
        ConfigError, match=r"several packages: .*lab 1.0.*uninstall all but one"
    ) as e:
        read({"kind": "lab_encoder"})
    assert "other 1.0" in str(e.value)


def test_the_version_is_part_of_the_hash_and_only_of_those_with_parts(
    install: Install, tmp_path: Path
) -> None:
    install()
    plain = tiny_recipe(tmp_path, tmp_path)
    own = tiny_recipe(tmp_path, tmp_path, model={"encoder": {"kind": "lab_encoder"}})
    before = plain.compute_config_hash("s"), own.compute_config_hash("s")
    install(version="1.1")
    after = plain.compute_config_hash("s"), own.compute_config_hash("s")
    assert before[0] == after[0] and before[1] != after[1]


def test_a_bundle_names_what_is_missing_and_what_differs(
    install: Install, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "card.md").write_text("x")
    part = {"group": "kinesweep.encoders", "kind": "lab_encoder", "package": "lab"}
    write_bundle_manifest(folder, [{**part, "version": "1.0", "requirements": ["numpy"]}])
    with pytest.raises(
        BundleError, match=r"of lab 1.0, which is not installed. Run `pip install lab"
    ):
        check_bundle_files(folder)
    install(version="2.0")
    check_bundle_files(folder)
    assert "was trained with the part `lab_encoder`" in caplog.text and "2.0" in caplog.text
    foreign = read_required_parts([{**part, "package": "lib", "version": "1.0"}])
    with pytest.raises(InputError, match=r"is now that of the part .* of lab 2.0"):
        check_required_parts(foreign, "it")
    same = read_required_parts([{**part, "package": "LAB", "version": "2.0"}])
    assert check_required_parts(same, "it") == []
    for damaged in ({}, [3], [{"kind": "x"}]):
        with pytest.raises(ValueError, match="`parts`"):
            read_required_parts(damaged)


def test_the_doctor_lists_all_and_survives_broken_ones(install: Install, tmp_path: Path) -> None:
    install()
    command = [sys.executable, "-m", "kinesweep", "doctor", "--json"]
    path = f"{tmp_path / 'site'}:{':'.join(sys.path)}"
    result = subprocess.run(
        command, capture_output=True, text=True, env={"PYTHONPATH": path, "HOME": str(tmp_path)}
    )
    assert result.returncode == 2 and "Traceback" not in result.stderr
    parts = {p["kind"]: p for p in json.loads(result.stdout.splitlines()[-1])["parts"]}
    assert parts["lab_encoder"]["problem"] == "" and parts["ones"]["version"] == "1.0"
    assert "cannot be imported" in parts["gone"]["problem"]
    assert "`lab:Nowhere`, which cannot be imported" in parts["lost"]["problem"]
    assert "has no set_statistics" in parts["poor"]["problem"]
    assert "is hidden by our own kind of this name" in parts["linear"]["problem"]


@pytest.mark.parametrize(
    ("settings", "implementation", "problem"),
    [
        (LossPart, "Bare", ""),
        (MetricPart, "Bare", "has no compute, compute_clip_statistics"),
        (SamplerPart, "Bare", "has no sample_independent"),
        (SourcePart, "HalfSource", "has no read_file"),
        (FeaturesPart, "Bare", "has no compute_features, estimate_shapes"),
        (BackbonePart, "Bare", "has no create_model, compute_logits"),
    ],
)
def test_an_implementation_needs_the_methods_of_its_group(
    settings: type[PartConfig], implementation: str, problem: str
) -> None:
    class Bare:
        def forward(self) -> None: ...

    class HalfSource(FileTableSource):
        def read_clips(self, split: str, path: Path) -> list[Any]:
            return []

    classes = {"Bare": Bare, "HalfSource": HalfSource}
    found = find_implementation_problem(settings, classes[implementation])
    assert found.startswith(problem) and bool(found) == bool(problem)


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_a_loss_is_weighed_by_labels_and_mixed(install: Install, share: float) -> None:
    install()
    config = Recipe.model_fields["training"].default.model_validate(
        {"loss": {"kind": "ones", "share": share}}
    )
    logits_BLV, labels_BL = torch.randn(2, 3, 5), torch.tensor([[1, 2, 3], [4, -100, -100]])
    ours = compute_cross_entropy(logits_BLV, labels_BL, 0.0, 8)
    loss = PartLoss(config.loss, 0.0)(ours, logits_BLV, labels_BL, labels_BL, 8)
    assert math.isclose(float(loss), share * 4 / 8 + (1 - share) * float(ours), rel_tol=1e-6)


def test_a_loss_of_another_shape_or_stage_is_refused(install: Install, tmp_path: Path) -> None:
    install()
    recipe = tiny_recipe(tmp_path, tmp_path, training={"loss": {"kind": "scalar"}})
    labels_BL = torch.tensor([[1]])
    with pytest.raises(InputError, match=r"`scalar` must return .* shape .1,., but returned .."):
        PartLoss(recipe.training.loss, 0.0)(0.0, torch.zeros(1, 1, 5), labels_BL, labels_BL, None)
    with pytest.raises(ConfigError, match="`loss` is `ones`, but `stage: align`"):
        tiny_recipe(tmp_path, tmp_path, training={"loss": {"kind": "ones"}, "stage": "align"})


def test_entry_points_are_read_once_until_a_folder_changes(install: Install) -> None:
    install()
    assert find_installed_part("kinesweep.encoders", "lab_encoder") is not None
    hits = scan._scan_entry_points.cache_info().hits
    list_installed_parts()
    assert scan._scan_entry_points.cache_info().hits == hits + 1
    assert entry_points(group="kinesweep.losses").names >= {"ones"}
