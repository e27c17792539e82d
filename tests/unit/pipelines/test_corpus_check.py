"""What passes the check extracts, and what does not is named with row and reason in one run."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from faults import FaultyCorpus, faulty_pose_corpus, faulty_skeleton_corpus
from kinesweep.cli import app
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import SourceError, StoreError
from kinesweep.pipelines.corpus_check import check_corpus
from kinesweep.store.extraction.build import extract_locally
from poses import LEFT_HAND, NUM_POINTS, pose_file, signer

CORPORA = {"poses": faulty_pose_corpus, "skeletons": faulty_skeleton_corpus}


def with_store(recipe: Recipe, **values: Any) -> Recipe:
    return recipe.model_copy(update={"store": recipe.store.model_copy(update=values)})


def write_recipe(recipe: Recipe, folder: Path) -> str:
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    return str(folder / "recipe.yaml")


@pytest.fixture(params=CORPORA)
def corpus(request: pytest.FixtureRequest, tmp_path: Path) -> FaultyCorpus:
    build: Callable[[Path], FaultyCorpus] = CORPORA[request.param]
    return build(tmp_path)


def test_every_fault_is_named_and_extraction_drops_exactly_these(corpus: FaultyCorpus) -> None:
    found = check_corpus(corpus.recipe)
    assert {row.row: row.reason for row in found.problems} == corpus.expected
    assert found.violations == [] and found.table_errors == []
    rows = [int(row.row.rpartition(":")[2]) for row in found.problems]
    assert rows == sorted(rows)  # in the order of the table
    store = extract_locally(corpus.recipe)
    dropped = store.manifest["dropped"]["rows"]
    assert {row["row"]: row["reason"] for row in dropped} == corpus.expected
    assert {(row.row, row.clip_id, row.split) for row in found.problems} == {
        (row["row"], row["clip_id"], row["split"]) for row in dropped
    }
    assert {split: quality.clips for split, quality in found.quality.items()} == {
        split: len(store.get_records(split)) for split in store.splits
    }
    assert found.quality == store.quality


def test_a_corpus_without_faults_passes_and_extracts(tmp_path: Path) -> None:
    made = faulty_pose_corpus(tmp_path)
    path = tmp_path / "corpus/train.tsv"
    good = path.read_text().splitlines()[:7]
    path.write_text("\n".join(good) + "\n")
    strict = with_store(made.recipe, max_dropped_share=0.0)
    assert check_corpus(strict).problems == []
    assert extract_locally(strict).manifest["dropped"]["total"] == 0


def test_malformed_rows_do_not_hide_the_media_of_the_others(tmp_path: Path) -> None:
    made = faulty_pose_corpus(tmp_path, malformed=True)
    found = check_corpus(made.recipe)
    assert {row.row: row.reason for row in found.problems} == made.expected
    assert {row.row for row in found.table_errors} == set(made.malformed)
    assert {row.reason for row in found.table_errors} == {"table_error"}
    with pytest.raises(SourceError) as caught:
        extract_locally(made.recipe)
    assert all(row in str(caught.value) for row in made.malformed)


def test_the_command_lists_all_and_leaves_with_2(tmp_path: Path) -> None:
    made = faulty_pose_corpus(tmp_path, malformed=True)
    result = CliRunner().invoke(app, ["check", write_recipe(made.recipe, tmp_path), "--json"])
    assert result.exit_code == 2
    values = json.loads(result.stdout.strip().splitlines()[-1])
    named = {row["row"]: row["reason"] for row in values["problems"]}
    assert named == made.expected | dict.fromkeys(made.malformed, "table_error")


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"max_dropped_share": 0.01}, "cannot be used; at most `store.max_dropped_share`"),
        ({"required_splits": ("train",)}, r"unusable clips: \d+ of train"),
    ],
)
def test_limits_that_stop_the_extraction_are_said(
    tmp_path: Path, limits: dict[str, Any], words: str
) -> None:
    recipe = with_store(faulty_pose_corpus(tmp_path).recipe, **limits)
    (violation,) = check_corpus(recipe).violations
    assert re.search(words, violation)
    with pytest.raises(StoreError, match=words):
        extract_locally(recipe)


def test_a_split_that_loses_all_its_clips_is_said(tmp_path: Path) -> None:
    made = faulty_pose_corpus(tmp_path)
    (tmp_path / "corpus/validation.tsv").write_text("signal\toutput\nposes/nan.pose\tMore.\n")
    assert check_corpus(made.recipe).violations == [
        "no usable clip in split validation; rows left out:"
    ]
    with pytest.raises(StoreError, match="no usable clip in split validation"):
        extract_locally(made.recipe)


def test_neither_pytorch_nor_ray_is_imported(tmp_path: Path) -> None:
    path = write_recipe(faulty_pose_corpus(tmp_path).recipe, tmp_path)
    code = (
        "import sys; from pathlib import Path\n"
        "from kinesweep.pipelines.corpus_check import check_corpus\n"
        "from kinesweep.pipelines.inputs import load_recipe\n"
        f"assert check_corpus(load_recipe(Path({path!r}), [])).problems\n"
        "print(sorted({'torch', 'ray', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def write_corpus(folder: Path, files: dict[str, bytes]) -> Recipe:
    """A recipe on one clip per file."""
    made = faulty_pose_corpus(folder)
    corpus = folder / "corpus"
    for name, content in files.items():
        (corpus / f"{name}.pose").write_bytes(content)
    lines = ["signal\toutput", *(f"{name}.pose\tText {name}." for name in files)]
    (corpus / "train.tsv").write_text("\n".join(lines) + "\n")
    return made.recipe


def test_warnings_name_the_clip_and_do_not_fail(tmp_path: Path) -> None:
    frozen, zeros = signer(), signer()
    frozen[:, :, LEFT_HAND.start] = 5.0
    zeros[3:6, :, LEFT_HAND] = 0.0
    files = {
        "slow": pose_file(fps=2),
        "fast": pose_file(fps=1000),
        "cut": pose_file(version=0.1, fps=29),
        "frozen": pose_file(frozen),
        "zeros": pose_file(zeros),
    }
    recipe = write_corpus(tmp_path, files)
    found = check_corpus(recipe)
    assert [(item.row, item.kind) for item in found.warnings if item.row != "pose"] == [
        ("train.tsv:2", "implausible_rate"),
        ("train.tsv:3", "implausible_rate"),
        ("train.tsv:4", "cut_rate"),
        ("train.tsv:5", "constant_points"),
        ("train.tsv:6", "zeros_with_confidence"),
    ]
    (rates,) = (item for item in found.warnings if item.row == "pose")
    assert rates.kind == "several_rates" and "500 (1 clips, such as `fast`)" in rates.message
    result = CliRunner().invoke(app, ["check", write_recipe(recipe, tmp_path)])
    assert result.exit_code == 0, result.output


def test_detection_rates_are_of_frames_and_low_ones_are_warned_about(tmp_path: Path) -> None:
    confidence_TPJ = np.ones((12, 1, NUM_POINTS), np.float32)
    confidence_TPJ[3:, :, LEFT_HAND] = 0.0
    files = {
        "a": pose_file(confidence_TPJ=confidence_TPJ),
        "b": pose_file(confidence_TPJ=confidence_TPJ),
    }
    found = check_corpus(write_corpus(tmp_path, files))
    assert found.quality["train"].detection == {
        "person": 1.0,
        "body": 1.0,
        "face": 1.0,
        "left_hand": 0.25,
        "right_hand": 1.0,
    }
    assert [(item.row, item.kind) for item in found.warnings] == [("train", "low_detection")]
    assert "the left hand is detected in 25.0%" in found.warnings[0].message
    assert any("25.0%" in line for line in found.format_lines())
    assert "25.0%" in found._repr_html_() and "low_detection" in found._repr_html_()


def test_only_five_rows_of_a_kind_are_printed_and_all_are_in_json(tmp_path: Path) -> None:
    recipe = write_corpus(tmp_path, {f"slow{n}": pose_file(fps=2) for n in range(9)})
    found = check_corpus(recipe)
    lines = [line for line in found.format_lines() if "implausible_rate" in line]
    assert len(lines) == 6 and lines[-1] == "warning: implausible_rate  and 4 more rows"
    kinds = [item["kind"] for item in found.to_json()["warnings"]]
    assert kinds.count("implausible_rate") == 9


def test_warnings_do_not_change_the_result_otherwise(tmp_path: Path) -> None:
    found = check_corpus(write_corpus(tmp_path, {"a": pose_file()}))
    assert found.warnings == [] and replace(found, warnings=[]) == found
