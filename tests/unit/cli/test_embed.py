"""`kinesweep train-embedder`: a recipe in, a folder with an embedder out, named by the recipe."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from kinesweep.cli import main
from kinesweep.features.frame_embedder_io import compute_embedder_digest, read_embedder
from movements import movements_recipe, write_movements

pytestmark = pytest.mark.integration


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_movements(tmp_path / "corpus")
    recipe = movements_recipe(Path("corpus"), Path("stores"))
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    with pytest.raises(SystemExit) as left:
        main(["train-embedder", "recipe.yaml", "--no-ray", "--json", *words])
    said = capsys.readouterr()
    assert (left.value.code or 0) == code, said.err
    assert "Traceback" not in said.err
    return said.err if code else json.loads(said.out.splitlines()[-1])


def test_a_recipe_becomes_an_embedder(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = call(capsys)
    folder = Path(result["folder"])
    assert (result["status"], result["step"]) == ("finished", 12)
    assert folder.parent == place / "home" / "runs" and folder.name.startswith("movements-")
    digest = compute_embedder_digest(folder / "best")
    assert read_embedder(folder / "best").scores == result["scores"]
    # Nothing of this machine goes along.
    assert str(place) not in (folder / "best" / "embedder.json").read_text()
    assert call(capsys) == result, "a finished run is handed back"
    moved = call(capsys, "--folder", "mine", "training.seed=9")
    assert compute_embedder_digest(place / "mine" / "best") != digest
    assert Path(moved["folder"]) == place / "mine"
    assert "belongs to another run" in call(capsys, "--folder", "mine", code=2)
    again = call(capsys, "--folder", "mine", "--overwrite")
    assert again["weights_sha256"] == result["weights_sha256"]


def test_a_recipe_that_is_none(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = call(capsys, "embedding.kind=tccc", "encoder.kind=cnn", code=2)
    assert "embedding.kind" in said and "'tccc'" in said
    assert "training.stepps" in call(capsys, "training.stepps=3", code=2)


def test_a_diverged_embedder_is_an_error(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also if only the last step breaks it: Kendall's tau of what is no number is a number."""
    assert "diverged" in call(capsys, "training.learning_rate=1e30", code=1)
    last = ("training.max_steps=1", "training.learning_rate=3e37", "training.warmup_steps=0")
    assert "embeddings of a validation clip" in call(capsys, *last, code=1)
