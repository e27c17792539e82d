"""`kinesweep pretrain`: a recipe in, an encoder out; films without texts will do."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from kinesweep.cli import main
from kinesweep.features.encoders.signhiera_network import load_signhiera
from pretraining import pretraining_recipe
from vision import film_corpus, film_recipe

pytestmark = pytest.mark.integration


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    film_corpus(tmp_path / "films", train=3, validation=2)
    recipe = pretraining_recipe(Path("films"), Path("stores"))
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    with pytest.raises(SystemExit) as left:
        main(["pretrain", "recipe.yaml", "--no-ray", "--json", *words])
    said = capsys.readouterr()
    assert (left.value.code or 0) == code, said.err
    assert "Traceback" not in said.err
    return said.err if code else json.loads(said.out.splitlines()[-1])


def test_a_recipe_becomes_an_encoder(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = call(capsys)
    folder = Path(result["folder"])
    assert (result["status"], result["step"]) == ("finished", 6)
    assert folder.parent == place / "home" / "runs" and folder.name.startswith("tiny_mae-")
    assert load_signhiera(folder / "best" / "model.safetensors", False).geometry.size == 64
    assert call(capsys) == result, "a finished run is handed back"
    moved = call(capsys, "--folder", "mine", "training.seed=9")
    assert Path(moved["folder"]) == place / "mine"
    assert moved["weights_sha256"] != result["weights_sha256"]
    assert "belongs to another run" in call(capsys, "--folder", "mine", code=2)
    again = call(capsys, "--folder", "mine", "--overwrite")
    assert again["weights_sha256"] == result["weights_sha256"]


def test_films_without_texts(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labeled = call(capsys, "training.max_steps=2", "--folder", "labeled")
    for split in ("train", "validation"):
        lines = (place / "films" / f"{split}.tsv").read_text().splitlines()
        names = [line.split("\t")[0] for line in lines]
        (place / "films" / f"{split}.tsv").write_text("\n".join(names) + "\n")
    assert "output" in call(capsys, "training.max_steps=2", code=2)
    words = ("source.allow_empty_texts=true", "training.max_steps=2", "--folder", "unlabeled")
    assert call(capsys, *words)["scores"] == labeled["scores"]


def test_a_recipe_that_is_none(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = call(capsys, "objective.mask_ratio=2", "batch.window=4", code=2)
    assert "objective.mask_ratio" in said and "did you mean `windows`" in said
    said = call(capsys, "model.scratch.sise=64", code=2)
    assert "model.scratch.sise" in said and "did you mean `size`" in said


def test_a_recipe_of_the_other_command(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("train", "check"):
        with pytest.raises(SystemExit, match="2"):
            main([command, "recipe.yaml"])
        assert "one of `kinesweep pretrain`" in capsys.readouterr().err
    vision = {"kind": "signhiera", "scratch": {}}
    recipe = film_recipe(place / "films", place / "none", place / "stores").model_dump(mode="json")
    recipe["features"], recipe["model"]["vision"] = {"kind": "frames", "size": 64}, vision
    recipe["model"]["encoder"]["standardize"] = False
    (place / "other.yaml").write_text(yaml.safe_dump(recipe))
    with pytest.raises(SystemExit, match="2"):
        main(["pretrain", "other.yaml"])
    assert "one of `kinesweep train`" in capsys.readouterr().err
    # A run without texts is refused before anything is extracted.
    with pytest.raises(SystemExit, match="2"):
        main(["train", "other.yaml", "--no-ray", "source.allow_empty_texts=true"])
    assert "source.allow_empty_texts" in capsys.readouterr().err
    assert not (place / "stores").exists()


def test_a_model_that_windows_do_not_fit(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is found before the frames are extracted, which may take hours."""
    assert "`batch.num_frames` is 32" in call(capsys, "batch.num_frames=32", code=2)
    assert "`features.size` is 64" in call(capsys, "model.scratch.size=96", code=2)
    assert "is 32, one mask unit" in call(capsys, "model.scratch.size=32", code=2)
    words = ("model.scratch=null", "model.init_from=nowhere.pth")
    assert "there is no such file" in call(capsys, *words, code=2)
    assert "there is no such file" in call(capsys, "objective.init_from=nowhere.pth", code=2)
    crop = "batch.augmentation={random_crop_from: 64}"
    assert "nothing would be cropped" in call(capsys, crop, code=2)
    assert not (place / "stores").exists()


def test_a_diverged_run_is_an_error(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "diverged" in call(capsys, "training.learning_rate=1e30", code=1)
