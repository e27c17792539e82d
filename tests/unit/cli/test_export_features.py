"""The verb that hands features over, from a recipe or a store, and never over other things."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from corpus import tiny_corpus, tiny_recipe, tiny_store
from kinesweep.cli import main

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe whose store is extracted."""
    folder = tmp_path_factory.mktemp("features")
    recipe = tiny_recipe(tiny_corpus(folder, clips=16), folder / "stores")
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    (folder / "store").symlink_to(tiny_store(recipe).folder)
    return folder


def call(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any], str]:
    """Code, line of JSON and what was said."""
    with pytest.raises(SystemExit) as left:
        main(["export-features", *map(str, words), "--json"])
    said = capsys.readouterr()
    return int(left.value.code or 0), json.loads(said.out or "{}"), said.err


def test_a_recipe_and_its_store_give_the_same(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, store = place / "recipe.yaml", place / "store"
    code, done, _ = call(capsys, recipe, tmp_path / "a", "--overwrite")
    assert code == 0 and sum(done["clips"].values()) == 16
    assert call(capsys, store, tmp_path / "b")[1] == {**done, "folder": str(tmp_path / "b")}
    found = [
        sorted(p.relative_to(o) for p in o.rglob("*.*")) for o in (tmp_path / "a", tmp_path / "b")
    ]
    assert found[0] == found[1] and len(found[0]) == 16 + 3 + 1
    assert call(capsys, recipe, tmp_path / "a")[0] == 2
    assert call(capsys, recipe, tmp_path / "a", "--overwrite")[0] == 0


def test_varied_epochs_need_a_recipe_that_varies(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, store, out = place / "recipe.yaml", place / "store", tmp_path / "out"
    code, _, said = call(capsys, store, out, "--augment", 2)
    assert code == 2 and "`--augment` requires a recipe" in said
    code, _, said = call(capsys, recipe, out, "--augment", 2)
    assert code == 2 and "enables no augmentation" in said
    code, _, said = call(capsys, store, out, "batch.augmentation.speed=0.2")
    assert code == 2 and "overrides need a recipe" in said
    code, done, said = call(capsys, recipe, out, "batch.augmentation.speed=0.2", "--augment", 2)
    assert code == 0 and list(done["epochs"]) == ["0", "1"]
    clips = done["clips"]["train"]
    assert f"epoch 1: {clips} of {clips} clips of train" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nothing", "out"), "neither a feature store nor a recipe"),
        (("recipe.yaml", "stores"), "is not an earlier export"),
        (("recipe.yaml", "stores", "--overwrite"), "is not an earlier export"),
        (("recipe.yaml", "out", "--stream", "hands"), "has no stream `hands`"),
        (("recipe.yaml", "out", "features.stride=3"), "not extracted"),
    ],
)
def test_wrong_arguments(
    place: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(place)
    code, _, text = call(capsys, *words)
    assert code == 2 and said in text.replace("\n", " ")
    assert not (place / "out").exists() and list((place / "stores").glob("*/manifest.json"))
