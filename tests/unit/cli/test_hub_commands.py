"""Export, push and translation by name, as commands."""

import json
import os
import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from commands import kinesweep
from corpus import tiny_corpus, tiny_recipe, tiny_store
from hub_server import TOKEN, Fault, hub_environment, serve_hub, use_hub
from kinesweep.cli import main
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.pipelines.bundle_export import PushRequest
from kinesweep.training.loop.run import RunSpec, train_run

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub-commands")
    recipe = tiny_recipe(tiny_corpus(folder, clips=32), folder / "stores")
    store = tiny_store(recipe)
    train_run(RunSpec(recipe, store.folder, folder / "run"), NullRunLogger(), lambda _: True)
    return folder


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with serve_hub() as server:
        use_hub(monkeypatch, server, tmp_path / "cache")
        monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "home"))
        monkeypatch.chdir(tmp_path)
        yield server


@pytest.fixture
def run(trained, hub, tmp_path):
    return shutil.copytree(trained / "run", tmp_path / "run")


@pytest.fixture
def say(capsys):
    def call(*words, code=0):
        with pytest.raises(SystemExit) as left:
            main([*map(str, words), "--json"])
        said = capsys.readouterr()
        assert (left.value.code or 0) == code, said.err
        assert TOKEN not in said.out + said.err and "Traceback" not in said.err
        return json.loads(said.out.splitlines()[-1]) if not code else said.err

    return call


@pytest.mark.slow
def test_export_push_and_translate_by_name(run, hub, say, trained, tmp_path, forked_verification):
    card = ("--card", "license=cc-by-4.0", "--card", "language=[ase,en]")
    done = say("export", run, "--push", "lab/signs", "--private", *card)
    folder = tmp_path / "home/exports/signs"
    assert done["bundle"] == str(folder) and done["verified"] > 0
    assert done["pushed"]["num_files"] == len(hub.files("lab/signs")) - 1
    assert hub.repos["lab/signs"].private
    metadata = ModelCard(hub.files("lab/signs")["README.md"].decode()).data
    assert (metadata.license, metadata.language) == ("cc-by-4.0", ["ase", "en"])
    # Another process on another machine, which knows the name only.
    clips = sorted(map(str, (trained / "corpus").rglob("*.pose")))[:2]
    env = {**os.environ, **hub_environment(hub, tmp_path / "other"), "KINESWEEP_HOME": "none"}
    revision = ("--revision", done["pushed"]["revision"])
    by_name = kinesweep(tmp_path, env, "translate", "lab/signs", *clips, *revision)
    assert by_name.returncode == 0, by_name.stderr
    by_folder = say("translate", folder, *clips)
    assert [line.split("\t")[1] for line in by_name.stdout.splitlines()] == [*by_folder.values()]
    # An exported bundle, by its folder or by the name of its sweep, is pushed as it is.
    for model in (folder, "signs"):
        again = say("export", model, "--push", "lab/signs", "--message", "again")
        assert again["verified"] is None and again["pushed"]["num_files"] > 0


def test_a_failed_push_keeps_the_bundle_and_tells_how_to_go_on(
    run, hub, say, tmp_path, forked_verification
):
    hub.faults.append(Fault("POST /api/repos/create", 403))
    error = " ".join(say("export", run, "out", "--push", "lab/signs", code=2).split())
    assert "HubError" in error and "no permission for `lab/signs`" in error
    assert "`kinesweep export out --push lab/signs` pushes it again" in error
    assert "can only be pushed" in say(
        "export", "out", "--push", "lab/signs", "--overwrite", code=2
    )
    assert say("export", "out", "--push", "lab/signs")["pushed"]["repo"] == "lab/signs"


def test_the_command_of_another_push_has_all_options():
    """Without `--private` it would publish what was meant to be private."""
    request = PushRequest("lab/signs", True, "v1", "it's done")
    command = request.format_command(Path("my bundle"))
    expected = ["kinesweep", "export", "my bundle", "--push", "lab/signs"]
    expected += ["--private", "--revision=v1", "--message=it's done"]
    assert shlex.split(command) == expected


def test_wrong_arguments_are_refused_at_once(run, hub, say, tmp_path, monkeypatch):
    wrong = {
        "`OUT` is missing": ("export", run),
        "`--private` has no effect": ("export", run, "out", "--private"),
        "`signs` is not a name on the Hub": ("export", run, "out", "--push", "signs"),
        "export.card.licence": ("export", run, "out", "--card", "licence=mit"),
        "must be a list, such as [en]": ("export", run, "out", "--card", "language=en"),
        "`license: other` needs": ("export", run, "out", "--card", "license=other"),
    }
    for message, words in wrong.items():
        assert message in " ".join(say(*words, code=2).split())
    assert not hub.requests and not (tmp_path / "out").exists()
    monkeypatch.delenv("HF_TOKEN")
    assert "no token" in say("export", run, "out", "--push", "lab/signs", code=2)
    assert not hub.requests and not (tmp_path / "out").exists()
    # A mistyped folder beside real ones is no name on the Hub.
    (tmp_path / "exports").mkdir()
    assert "not a bundle" in say("translate", "exports/sampel", "a.pose", code=2)
    assert not hub.requests
    assert "repository does not exist" in say("translate", "lab/nothing", "a.pose", code=2)


def test_control_characters_of_strangers_do_not_reach_the_terminal(say, tmp_path):
    error = say("translate", "lost\x1b[2J\x9b1A", "a.pose", code=2)
    assert "`lost\\x1b[2J\\x9b1A` is not a bundle" in error.replace("\n", "")


def test_statements_of_the_recipe_change_no_identity(trained):
    recipe = tiny_recipe(trained / "corpus", trained / "stores")
    values = yaml.safe_load(yaml.safe_dump(recipe.model_dump(mode="json")))
    values["export"]["card"] |= {"license": "mit", "tags": ["asl"]}
    stated = type(recipe).model_validate(values)
    assert stated.export.card.license == "mit"
    assert stated.compute_config_hash("x") == recipe.compute_config_hash("x")
