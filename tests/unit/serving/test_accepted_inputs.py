"""Names of files that come without one, by the form field they are sent in."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import pytest

from kinesweep.config.parts import SourcePart
from kinesweep.config.recipe.sources.feature_tsv import FeatureTsvConfig
from kinesweep.serving.accepted_inputs import AcceptedInputs


class Jsonl(SourcePart):
    """A source of another package."""

    kind: Literal["jsonl"] = "jsonl"
    implementation: ClassVar[str] = "lab:Source"
    file_suffixes: ClassVar[tuple[str, ...]] = (".jsonl",)


@pytest.fixture(scope="module")
def inputs(bundle_dir: Path) -> AcceptedInputs:
    return AcceptedInputs.read(bundle_dir)


def test_a_file_without_a_name_is_of_the_kind_of_its_field(inputs: AcceptedInputs) -> None:
    assert inputs.get_default_name("file") == "clip.pose"
    features = FeatureTsvConfig(kind="feature_tsv", train="train.tsv", fps=25)
    parts = replace(inputs, sources={"pose": inputs.sources["file"], "dino": features})
    assert parts.get_default_name("pose") == "clip.pose"
    assert parts.get_default_name("dino") == "clip.npy"
    # An unknown field is refused later, with the fields that exist.
    assert parts.get_default_name("nose") == "clip.pose"


def test_a_source_of_a_package_names_its_files_itself(inputs: AcceptedInputs) -> None:
    parts = replace(inputs, sources={"file": Jsonl(train="train.jsonl")})
    assert parts.get_default_name("file") == "clip.jsonl"
