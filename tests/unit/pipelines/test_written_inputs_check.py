"""`check` of texts, SignWriting and images finds what extraction drops, without running a model."""

import sys
from pathlib import Path
from typing import Any

import pytest

from kinesweep.core.errors import StoreError
from kinesweep.pipelines.corpus_check import check_corpus
from kinesweep.store.extraction.build import extract_locally
from written import image_names, signed_texts, texts, written_recipe

LINEAR = {"encoder": {"kind": "linear"}}
IMAGES = {"kind": "images", "encoder": {"kind": "hf_vision", "pretrained": "no/such/model"}}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "text_tsv": (
        {"kind": "text", "tokenizer": {"kind": "words", "words": ["rain"]}},
        {},
        " .. ",
        "",
    ),
    "signwriting_tsv": ({"kind": "text", "tokenizer": {"kind": "fsw"}}, {}, "M5", "invalid_fsw"),
    "drawn": (IMAGES, LINEAR, "M500x500", "invalid_fsw"),
    "image_tsv": (IMAGES, LINEAR, "missing.png", "missing_file"),
}


def signals(kind: str, folder: Path) -> list[str]:
    if kind == "image_tsv":
        return image_names(folder, 10)
    return texts(10) if kind == "text_tsv" else signed_texts(10)


@pytest.mark.parametrize("case", CASES)
def test_check_finds_what_extraction_drops(tmp_path: Path, case: str) -> None:
    features, model, bad, reason = CASES[case]
    kind = "signwriting_tsv" if case == "drawn" else case
    own = signals(kind, tmp_path)
    own[3] = bad
    recipe = written_recipe(tmp_path, kind, own, features=features, model=model)
    found = check_corpus(recipe)
    assert [row.reason for row in found.problems] == ([reason] if reason else [])
    assert ("image model was not run" in found.not_checked) == (features is IMAGES)
    if features is not IMAGES and reason:
        with pytest.raises(StoreError, match=reason):
            extract_locally(recipe)


def test_check_of_tokens_needs_no_torch(tmp_path: Path) -> None:
    import subprocess

    recipe = written_recipe(tmp_path, "text_tsv", texts(6))
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    code = (
        "import sys, pathlib\n"
        "from kinesweep.config.recipe import Recipe\n"
        "from kinesweep.pipelines.corpus_check import check_corpus\n"
        f"recipe = Recipe.model_validate_json(pathlib.Path({str(tmp_path / 'recipe.json')!r})"
        ".read_text())\n"
        "assert not check_corpus(recipe).problems\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
