"""What the check says of precomputed features and of several corpora is what extraction drops.

Formats after PyTorch's archives (zip with a pickle), the HDF5 File Format Specification (chunks,
external links) and Sign_LLaVA's annotations.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

from faults import FaultyCorpus, faulty_pose_corpus, faulty_recipe
from faulty_features import faulty_manifest_corpus, faulty_shard_corpus
from kinesweep.cli import app
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import SourceError
from kinesweep.pipelines.corpus_check import check_corpus
from kinesweep.store.extraction.build import extract_locally

CORPORA = {"manifests": faulty_manifest_corpus, "shards": faulty_shard_corpus}
pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")


def find_same_rows(recipe: Recipe) -> dict[str, str]:
    """Reason by clip of the rows that the check names, which extraction drops and says the same."""
    found = check_corpus(recipe)
    assert found.violations == [] and found.table_errors == [] and found.not_checked == ""
    dropped = extract_locally(recipe).manifest["dropped"]["rows"]
    named = {(row.row, row.clip_id, row.split): (row.reason, row.message) for row in found.problems}
    assert named == {
        (row["row"], row["clip_id"], row["split"]): (row["reason"], row["message"])
        for row in dropped
    }
    assert len(named) == len(found.problems) == len(dropped)
    return {row.clip_id: row.reason for row in found.problems}


@pytest.mark.parametrize("kind", CORPORA)
def test_every_fault_is_named_and_extraction_drops_exactly_these(kind: str, tmp_path: Path) -> None:
    build: Callable[..., FaultyCorpus] = CORPORA[kind]
    made = build(tmp_path)
    assert find_same_rows(made.recipe) == made.expected


@pytest.mark.parametrize("kind", CORPORA)
def test_the_command_lists_malformed_rows_too_and_leaves_with_2(kind: str, tmp_path: Path) -> None:
    build: Callable[..., FaultyCorpus] = CORPORA[kind]
    made = build(tmp_path, malformed=True)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(made.recipe.model_dump(mode="json")))
    result = CliRunner().invoke(app, ["check", str(recipe), "--json"])
    assert result.exit_code == 2
    values = json.loads(result.stdout.strip().splitlines()[-1])
    malformed = {row["row"] for row in values["problems"] if row["reason"] == "table_error"}
    assert malformed == set(made.malformed)
    named = {row["clip_id"]: row["reason"] for row in values["problems"]}
    assert made.expected.items() - named.items() == set()
    with pytest.raises(SourceError) as caught:
        extract_locally(made.recipe)
    assert all(row in str(caught.value) for row in made.malformed)


def test_corpora_are_checked_together_and_each_row_bears_the_name_of_its_own(
    tmp_path: Path,
) -> None:
    """The second corpus is whole but for its points, which are others than those of most clips."""
    first, second = (faulty_pose_corpus(tmp_path / name) for name in ("first", "second"))
    sources = [made.recipe.source.model_dump(mode="json") for made in (first, second)]
    for name, source in zip(("first", "second"), sources, strict=True):
        source |= {"name": name}
    recipe = faulty_recipe(tmp_path, sources)  # type: ignore[arg-type]
    found = check_corpus(recipe)
    expected = {
        f"{name}/{row}": reason
        for name, made in (("first", first), ("second", second))
        for row, reason in made.expected.items()
    }
    assert {row.row: row.reason for row in found.problems} == expected
    dropped = extract_locally(recipe).manifest["dropped"]["rows"]
    assert {row["row"]: row["reason"] for row in dropped} == expected
    places = [tuple(row.row.split("/")[:1]) for row in found.problems]
    assert places == sorted(places)


def test_corpora_that_disagree_lose_the_clips_of_the_smaller_one(tmp_path: Path) -> None:
    made = [faulty_manifest_corpus(tmp_path / name) for name in ("first", "second")]
    sources = [corpus.recipe.source.model_dump(mode="json") for corpus in made]
    sources[0] |= {"name": "first"}
    # One epoch only: fewer clips, all of which are now of another width.
    sources[1] |= {"name": "second", "epochs": [0]}
    for path in (tmp_path / "second/features/0").glob("good*/*.pt"):
        torch.save(torch.ones(3, 7), path)
    recipe = faulty_recipe(tmp_path, sources, features={"kind": "precomputed"})  # type: ignore[arg-type]
    named = find_same_rows(recipe)
    assert {reason for clip, reason in named.items() if clip.startswith("second/good")} == {
        "wrong_width",
        "empty_text",
    }
