"""The public API: its example runs as it stands, and its functions meet those of the commands."""

import doctest
import inspect
import logging
from pathlib import Path

import pytest
import yaml

import kinesweep as ks
from corpus import tiny_corpus, tiny_recipe
from kinesweep import api
from kinesweep.core.errors import ConfigError, InputError, KinesweepError
from kinesweep.export import export_bundle

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus, its recipe, and the run that the example leaves."""
    folder = tmp_path_factory.mktemp("api")
    plain = tiny_recipe(tiny_corpus(folder, clips=24), folder / "stores").model_dump(mode="json")
    plain["training"] |= {"eval_steps": 2, "max_steps": 4}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(plain))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("KINESWEEP_HOME", str(folder / "home"))
        failed, attempted = doctest.testmod(api)
    assert (failed, attempted > 5) == (0, True)
    return folder


def test_what_the_example_trained_is_translated(place: Path) -> None:
    recipe = ks.load_recipe(place / "recipe.yaml")
    store = ks.load_store(ks.extract(recipe, on_ray=False).folder)
    bundle = ks.load_bundle(export_bundle(place / "run", place / "bundle", store))
    (said,) = bundle.translate([str(next((place / "corpus").rglob("*.pose")))])
    assert isinstance(said, str)


def test_errors_are_those_of_the_commands(place: Path) -> None:
    with pytest.raises(ConfigError, match=r"training\.max_step"):
        ks.load_recipe(place / "recipe.yaml", ["training.max_step=4"])
    with pytest.raises(InputError, match="there is no sweep `nothing`"):
        ks.load_sweep("nothing")
    with pytest.raises(KinesweepError):
        ks.load_bundle(place)
    with pytest.raises(AttributeError, match="no attribute `tarin`"):
        ks.tarin  # noqa: B018


def test_paths_of_a_spaces_recipe_are_absolute(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's workers have other working folders."""
    plain = yaml.safe_load((place / "recipe.yaml").read_text())
    plain["source"]["train"] = "corpus/train.tsv"
    (place / "relative.yaml").write_text(yaml.safe_dump(plain))
    asked = {"question": "?", "recipe": "relative.yaml", "search": {"kind": "random", "trials": 1}}
    asked["parameters"] = {"training.learning_rate": {"log": [1e-4, 1e-3]}}
    (place / "space.yaml").write_text(yaml.safe_dump(asked))
    monkeypatch.chdir(place)
    _, recipe = ks.load_space("space.yaml")
    assert recipe.corpora[0].train == str(place / "corpus/train.tsv")


def test_every_name_is_public_and_described() -> None:
    assert set(ks.__all__) - {"__version__"} == {
        name
        for name, value in vars(api).items()
        if inspect.isfunction(value) and not name.startswith("_")
    }
    assert set(ks.__all__) <= set(dir(ks))
    # An imported sub-package becomes an attribute of the package and would hide the function.
    packages = {path.name for path in Path(ks.__file__).parent.iterdir()}
    assert not packages & {*ks.__all__, *(f"{name}.py" for name in ks.__all__)}
    for name in set(ks.__all__) - {"__version__"}:
        assert inspect.getdoc(getattr(ks, name)), name


def test_messages_are_logged_and_not_printed(
    place: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "kinesweep.pipelines"):
        ks.extract(ks.load_recipe(place / "recipe.yaml", ["features.stride=3"]), on_ray=False)
    assert "extract: 24 of 24" in caplog.text
    handled = [type(one).__name__ for one in logging.getLogger("kinesweep").handlers]
    assert capsys.readouterr().err == "" or "_ConsoleHandler" in handled
