"""A corpus to a translated file, verb by verb, as someone without a cluster would go."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from corpus import tiny_corpus, tiny_recipe, tiny_store
from kinesweep.cli import main
from kinesweep.cli.inference.task_scores import parse_task_names
from kinesweep.core.errors import InputError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.training.loop.run import RunSpec, train_run
from kinesweep.training.reproducibility import determinism

pytestmark = pytest.mark.integration


class Shell:
    """Verbs in this process, in a folder of their own; `run` is the folder of a finished run."""

    def __init__(self, folder: Path, run: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.run, self._capsys = folder, run, capsys

    def __call__(self, *words: str, code: int = 0) -> dict[str, Any]:
        """Calls a verb. Returns its line of JSON."""
        with pytest.raises(SystemExit) as left:
            main([*words, "--json"])
        said = self._capsys.readouterr()
        assert (left.value.code or 0) == code, said.err
        lines = said.out.splitlines()
        return dict(json.loads(lines[-1])) if lines else {}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, its store, a recipe, and a run of it."""
    folder = tmp_path_factory.mktemp("journey")
    recipe = tiny_recipe(tiny_corpus(folder, clips=32), folder / "stores")
    store = tiny_store(recipe)
    train_run(RunSpec(recipe, store.folder, folder / "run"), NullRunLogger(), lambda _: True)
    return folder


@pytest.fixture
def shell(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    forked_verification: None,
) -> Shell:
    shutil.copytree(trained / "stores", tmp_path / "stores")
    recipe = tiny_recipe(trained / "corpus", tmp_path / "stores")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    shutil.copytree(trained / "run", tmp_path / "run")
    kept = tmp_path / "run" / "best" / "recipe.yaml"
    kept.write_text(kept.read_text().replace(str(trained / "stores"), str(tmp_path / "stores")))
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return Shell(tmp_path, str(tmp_path / "run"), capsys)


def test_from_a_corpus_to_a_sentence(shell: Shell, trained: Path) -> None:
    assert shell("check", "recipe.yaml")["problems"] == []
    assert set(shell("show", "recipe.yaml")["clips"]) == {"train", "validation", "test"}
    first = shell("train", "recipe.yaml", "--no-ray")
    assert (first["status"], first["step"]) == ("finished", 12)
    again = shell("train", "recipe.yaml", "--no-ray")
    assert again["weights_sha256"] == first["weights_sha256"]
    run = first["folder"]
    scored = shell("evaluate", run, "--split", "validation")
    assert scored["scores"]["bleu"] == pytest.approx(first["scores"]["bleu"])
    clips = shell("show", "recipe.yaml")["clips"]["validation"]
    assert sum(part["clips"] for part in scored["parts"]) == clips
    asked = ["evaluation.metrics=[bleu,ter,rouge]", "evaluation.protocol=phoenix"]
    otherwise = shell("evaluate", run, *asked, "--out", "texts.tsv")
    of_tokens = {"token_loss", "token_accuracy"}
    assert set(otherwise["scores"]) == {*of_tokens, "bleu", "ter", "rouge"}
    assert otherwise["signatures"]["ter"].startswith("protocol:phoenix|ter|")
    theirs = shell("evaluate", run, *asked, "--predictions", "texts.tsv")
    assert theirs["scores"] == {k: v for k, v in otherwise["scores"].items() if k not in of_tokens}
    shell("evaluate", run, "--predictions", "recipe.yaml", code=2)
    bundle = shell("export", run, "mine")
    assert bundle["verified"] > 0
    shell("export", run, "mine", code=2)  # never over another one unasked
    pose = sorted((trained / "corpus/poses/test").glob("*.pose"))[0]
    assert list(shell("translate", "mine", str(pose))) == [str(pose)]
    assert shell("diff", run, "mine")["different"] == []


def test_side_tasks_are_scored_by_name(shell: Shell) -> None:
    scored = shell("evaluate", shell.run, "--task", "reversed", "--task", "word_present")["tasks"]
    assert set(scored) == {"reversed", "word_present"}
    out = ("--out", "answers")
    few = ("evaluation.tasks={reversed: {max_clips: 3, seed: 1}}",)
    said = shell("evaluate", shell.run, "--task", "reversed", *few, *out)["tasks"]["reversed"]
    assert said["clips"] == 3 and said["low"] <= said["accuracy"] <= said["high"]
    written = json.loads((shell.folder / "answers" / "validation_task_results.json").read_text())
    assert written["tasks"]["reversed"] == said
    rows = (shell.folder / "answers" / "validation_reversed.tsv").read_text().splitlines()
    assert rows[0].split("\t")[0] == "id" and len(rows) == 4
    shell("evaluate", shell.run, "--task", "reversed", *few, *out, code=2)
    shell("evaluate", shell.run, "--task", "reversed", *few, *out, "--overwrite")
    with pytest.raises(InputError, match=r"but is `revrsed`; did you mean `reversed`\?$"):
        parse_task_names(["revrsed"])
    shell("evaluate", shell.run, "--task", "revrsed", code=2)
    shell("evaluate", shell.run, "--task", "reversed", "--out", "a.tsv", code=2)
    shell("evaluate", shell.run, "--task", "reversed", "--predictions", "recipe.yaml", code=2)
    both = shell("evaluate", shell.run, *few, "--out", "both")
    assert both["scores"]["reversed_accuracy"] == said["accuracy"]
    assert (shell.folder / "both" / "validation_reversed.tsv").is_file()
    results = json.loads((shell.folder / "both" / "validation_results.json").read_text())
    assert results["tasks"]["reversed"] == said == both["tasks"]["reversed"]


def test_what_evaluate_writes(shell: Shell) -> None:
    run = shell.run
    asked = ("evaluate", run, "evaluation.metrics=[bleu,meteor]", "generation.num_beams=1")
    found = shell(*asked, "--out", "scored")
    scored = shell.folder / "scored"
    assert sorted(p.name for p in scored.iterdir()) == [
        "validation_outputs.tsv",
        "validation_results.json",
    ]
    texts = (scored / "validation_outputs.tsv").read_text()
    assert texts.splitlines()[0].split("\t") == ["id", "hypothesis", "reference", "chrf"]
    results = json.loads((scored / "validation_results.json").read_text())
    assert {key: results[key] for key in found} == found
    assert (results["split"], results["scored"]) == ("validation", run)
    assert results["clips"] == len(texts.splitlines()) - 1
    assert results["store"] == shell("show", "recipe.yaml")["fingerprint"]
    assert (
        results["generation"]["num_beams"]
        == results["evaluation"]["during_training"]["num_beams"]
        == 1
    )
    (scored / "validation_outputs.tsv").unlink()
    shell(*asked, "--out", "scored", code=2)  # the other file is there still
    shell(*asked, "--out", "scored", "--split", "test")
    assert len(list(scored.iterdir())) == 3
    shell(*asked, "--out", "scored", "--overwrite")
    assert (scored / "validation_outputs.tsv").read_text() == texts
    theirs = ("--predictions", "scored/validation_outputs.tsv")
    shell(*asked, *theirs, "--out", "theirs")
    again = json.loads((shell.folder / "theirs/validation_results.json").read_text())
    assert (again["generation"], again["scored"]) == (None, theirs[1])
    assert again["scores"] == {key: results["scores"][key] for key in ("bleu", "meteor")}
    shell(*asked, "--out", "texts.tsv")
    assert (shell.folder / "texts.tsv").read_text() == texts
    shell(*asked, "--out", "texts.tsv", code=2)
    shell(*asked, "--out", "recipe.yaml", "--overwrite", code=2)
    shell(*asked, "evaluation.wordnet=.", code=2)


def test_another_seed_is_another_model(shell: Shell) -> None:
    other = shell("train", "recipe.yaml", "training.seed=6", "--no-ray")["folder"]
    found = shell("diff", shell.run, other, code=1)
    assert found["different"]
    assert found["tensors"] >= len(found["different"])


def test_looking_at_test_is_counted(shell: Shell) -> None:
    run = shell.run
    for _ in range(2):
        shell("evaluate", run, "--split", "test")
    ledgers = list((shell.folder / "stores").glob("*.test.jsonl"))
    assert [len(path.read_text().splitlines()) for path in ledgers] == [2]
    shell("export", run, "mine")
    assert "| test evaluations | 2 so far" in (shell.folder / "mine/README.md").read_text()


def test_folds_keep_signers_apart(shell: Shell) -> None:
    files = shell("split", "recipe.yaml", "folds", "--by", "signer", "--folds", "3")["files"]
    assert len(files) in (6, 9)
    assert all(Path(file).exists() for file in files)


@pytest.mark.slow
def test_repeat_and_the_model_before_training(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = ("training.max_steps=4", "training.eval_steps=2")
    alike = shell("repeat", "recipe.yaml", *short, "--runs", "2", "--no-ray")
    assert alike["partings"] == []
    first, second = alike["runs"]
    assert first["weights_sha256"] == second["weights_sha256"] != ""
    shell("repeat", "recipe.yaml", *short, "--no-ray", code=2)
    shell("repeat", "recipe.yaml", "--warm", "--no-ray", code=2)
    untrained = [
        shell("train", "recipe.yaml", "--no-ray", "--steps", "0", "--folder", name)["folder"]
        for name in ("a", "b")
    ]
    assert shell("diff", *untrained)["different"] == []
    shell("train", "recipe.yaml", "--no-ray", "--steps", "0", "--folder", "a", code=2)
    assert shell("train", "recipe.yaml", "--no-ray", "--steps", "3")["step"] == 3
    monkeypatch.setattr(determinism, "seed_everything", lambda _: None)
    apart = shell("repeat", "recipe.yaml", *short, "--no-ray", "--overwrite", code=1)
    assert [parting["step"] for parting in apart["partings"]] == [0, 0]
