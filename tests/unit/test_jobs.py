"""The jobs are columns of calls to the public API; here each runs in this process, without Ray.

`jobs/sweep.py` needs Ray and runs in `tests/cluster/test_submit.py`.
"""

import ast
import runpy
import sys
from pathlib import Path

import pytest
import yaml

from corpus import tiny_corpus, tiny_recipe
from movements import movements_recipe, write_movements
from pretraining import pretraining_recipe
from vision import film_corpus

pytestmark = pytest.mark.integration
JOBS = Path(__file__).resolve().parents[2] / "jobs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe and an embedding recipe, both with relative paths."""
    folder = tmp_path_factory.mktemp("jobs")
    recipe = tiny_recipe(tiny_corpus(folder, clips=24), folder / "stores").model_dump(mode="json")
    recipe["training"] |= {"eval_steps": 2, "max_steps": 4}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    write_movements(folder / "movements")
    embedding = movements_recipe(Path("movements"), Path("stores")).model_dump(mode="json")
    (folder / "embedding.yaml").write_text(yaml.safe_dump(embedding))
    film_corpus(folder / "films", train=2, validation=1)
    films = pretraining_recipe(Path("films"), Path("stores")).model_dump(mode="json")
    (folder / "pretraining.yaml").write_text(yaml.safe_dump(films))
    return folder


def run_job(name: str, *arguments: str) -> int:
    """Run a job in this process; return its exit code."""
    previous, sys.argv = sys.argv, [name, *arguments]
    try:
        runpy.run_path(str(JOBS / f"{name}.py"), run_name="__main__")
    except SystemExit as exit_:
        return int(exit_.code or 0)
    finally:
        sys.argv = previous
    return 0


def test_jobs_from_features_to_a_bundle(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KINESWEEP_HOME", str(folder / "state"))
    monkeypatch.chdir(folder)
    assert run_job("extract", "recipe.yaml", "--no-ray") == 0
    assert "train: " in capsys.readouterr().out
    run = ("--folder", "run", "--no-ray", "--bundle", "bundle")
    assert run_job("train", "recipe.yaml", "training.seed=3", *run) == 0
    printed = capsys.readouterr().out
    assert f"finished after 4 steps: {folder / 'run'}" in printed and "bundle: bundle" in printed
    assert (folder / "bundle/model.safetensors").exists()
    assert run_job("evaluate", "run", "--split", "test") == 0
    assert "test bleu: " in capsys.readouterr().out
    assert run_job("export", "run", "again") == 0
    assert "texts are identical" in capsys.readouterr().out
    repeat = ("--runs", "2", "--mode", "in_process", "--folder", "repeats")
    assert run_job("repeat", "recipe.yaml", *repeat) == 0
    assert "all 2 runs are bit-identical" in capsys.readouterr().out
    embedding = ("embedding.yaml", "--folder", "embedder", "--no-ray")
    assert run_job("train_embedder", *embedding) == 0
    assert f"embedder: {folder / 'embedder/best'}" in capsys.readouterr().out
    assert run_job("pretrain", "pretraining.yaml", "--folder", "encoder", "--no-ray") == 0
    assert f"encoder: {folder / 'encoder/best/model.safetensors'}" in capsys.readouterr().out


@pytest.mark.parametrize("path", sorted(JOBS.glob("*.py")), ids=lambda path: path.name)
def test_a_job_is_short_and_imports_the_public_api_alone(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 80
    imported = {
        alias.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert "kinesweep" in imported and imported <= {"kinesweep", "argparse", "sys"}
    assert "from kinesweep" not in text
