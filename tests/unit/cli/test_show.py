"""`kinesweep show --out`: a clip of a store as a picture, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from corpus import tiny_corpus, tiny_recipe, tiny_store
from kinesweep.cli import main
from kinesweep.evaluation.predictions import Prediction, write_predictions

pytestmark = pytest.mark.integration

CLIP = "validation_00000"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe whose store is extracted."""
    folder = tmp_path_factory.mktemp("show")
    recipe = tiny_recipe(tiny_corpus(folder, clips=16), folder / "stores")
    tiny_store(recipe)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    return folder / "recipe.yaml"


def call(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any], str]:
    """Code, line of JSON and what was said."""
    with pytest.raises(SystemExit) as left:
        main(["show", *map(str, words), "--json"])
    said = capsys.readouterr()
    return int(left.value.code or 0), json.loads(said.out or "{}"), said.err


@pytest.mark.parametrize("suffix", ["png", "gif", "mp4"])
def test_a_clip_becomes_a_file(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    out = tmp_path / f"new/clip.{suffix}"
    code, done, said = call(capsys, place, "--clip", CLIP, "--out", out)
    assert code == 0 and done["picture"] == str(out) and out.stat().st_size > 1000
    assert done["frames"] >= 8 and f"picture {out}" in said


def test_a_prediction_stands_beneath(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "said.tsv"
    write_predictions(table, [Prediction(CLIP, "a dog", ("the cat",))])
    plain, with_it = tmp_path / "a.png", tmp_path / "b.png"
    call(capsys, place, "--clip", CLIP, "--out", plain)
    assert call(capsys, place, "--clip", CLIP, "--out", with_it, "--predictions", table)[0] == 0
    assert plain.read_bytes() != with_it.read_bytes()
    code, _, said = call(
        capsys, place, "--clip", "train_00001", "--out", plain, "--predictions", table
    )
    assert code == 2 and "no prediction for the clip `train_00001`" in said


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--clip", CLIP, "--out", "clip.avi"], "`.gif`, `.mp4` or `.png`"),
        (["--clip", "nobody", "--out", "clip.png"], "no clip `nobody`"),
        (["--out", "clip.png"], "pass its id as `--clip`"),
        (["--clip", CLIP, "--predictions", "said.tsv"], "pass its file as `--out`"),
    ],
)
def test_what_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], words: list[str], why: str
) -> None:
    code, _, said = call(capsys, place, *words)
    assert code == 2 and why in said
