"""`kinesweep attention`: a file or a store's clip becomes a page; what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from corpus import tiny_corpus, tiny_recipe, tiny_store
from kinesweep.cli import main
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.export import Bundle, export_bundle
from kinesweep.training.loop.run import RunSpec, train_run

pytestmark = pytest.mark.integration

CLIP = "validation_00000"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, its store, a run and its bundle."""
    folder = tmp_path_factory.mktemp("attention")
    recipe = tiny_recipe(tiny_corpus(folder, clips=24), folder / "stores")
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    store = tiny_store(recipe)
    result = train_run(
        RunSpec(recipe, store.folder, folder / "run"), NullRunLogger(), lambda _: True
    )
    assert result.status == "finished"
    export_bundle(folder / "run", folder / "bundle", store)
    return folder


def call(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any], str]:
    """Code, line of JSON and what was said."""
    with pytest.raises(SystemExit) as left:
        main(["attention", *map(str, words), "--json"])
    said = capsys.readouterr()
    return int(left.value.code or 0), json.loads(said.out or "{}"), said.err


@pytest.mark.parametrize("model", ["bundle", "run", "run/best"])
def test_a_file_and_the_stores_clip_give_the_same(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str
) -> None:
    file = home / f"corpus/poses/validation/{CLIP}.pose"
    of_file = call(capsys, home / model, file, "--out", tmp_path / "a.html")
    of_store = call(
        capsys, home / model, CLIP, "--store", home / "recipe.yaml", "--out", tmp_path / "b.html"
    )
    assert of_file[0] == of_store[0] == 0, of_file[2] + of_store[2]
    assert (
        of_file[1]["text"]
        == of_store[1]["text"]
        == Bundle.load(home / "bundle").translate([file])[0]
    )
    assert of_file[1]["shares"] == pytest.approx(of_store[1]["shares"], abs=1e-5)
    assert sum(of_file[1]["shares"].values()) == pytest.approx(1, abs=1e-4)
    assert (tmp_path / "a.html").stat().st_size < 2e6
    for page in ("a.html", "b.html"):  # a page is sent around; where it was made is nobody's
        assert f" by {model.split('/')[0]}</p>" in (tmp_path / page).read_text()
    assert "Reference:" in (tmp_path / "b.html").read_text()
    assert "Reference:" not in (tmp_path / "a.html").read_text()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["bundle", "x.pose", "--out", "a.txt"], "must end in `.html`"),
        (["bundle", "x.pose", "--out", "a.html"], "does not exist"),
        (["run", CLIP, "--out", "a.html"], "id of a clip, pass its `--store`"),
        (["bundle", "corpus/poses/test", "--out", "a.html"], "an attention page shows one clip"),
        (
            ["run", "nobody", "--store", "recipe.yaml", "--out", "a.html"],
            "no clip `nobody`; it has",
        ),
        (["run", f"{CLIP}x", "--store", "recipe.yaml", "--out", "a.html"], f"mean `{CLIP}`?"),
        (["corpus", CLIP, "--store", "recipe.yaml", "--out", "a.html"], "not a model folder"),
    ],
)
def test_what_is_refused(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    why: str,
) -> None:
    monkeypatch.chdir(home)
    code, _, said = call(capsys, *words)
    assert code == 2 and why in said
    assert not (home / "a.html").exists()


def test_other_features_are_said(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They can be read, but at another rate; what is said of them is not the model's score."""
    recipe = tiny_recipe(home / "corpus", tmp_path / "stores", features={"stride": 3})
    out, place = tmp_path / "a.html", tiny_store(recipe).folder
    code, _, said = call(capsys, home / "run", CLIP, "--store", place, "--out", out)
    assert code == 0 and "not the features that the model was trained on" in said
    assert "not the features that the model was trained on" in out.read_text()
    own = home / "recipe.yaml"
    said = call(capsys, home / "run", CLIP, "--store", own, "--out", out)[2]
    assert "not the features" not in said + out.read_text()
