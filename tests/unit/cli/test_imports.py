"""Commands that need no model, and refused input, load no library that takes seconds.

Many commands run one after the other in a single fresh process, and after each of them the modules
of that process are looked at. No clock is read: `import torch` alone costs 1.5 s of CPU and the
training loop of transformers 5 s, so an import that comes back makes every command slow again.
"""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from corpus import tiny_corpus, tiny_recipe, tiny_store
from skeletons import motions

ROOT = Path(__file__).resolve().parents[3]
HEAVY = (
    *("torch", "transformers", "tokenizers", "peft", "ray", "mlflow", "scipy.stats"),
    *("matplotlib", "plotly", "nltk"),
)
PROGRAM = """
import contextlib, io, json, sys
from kinesweep.cli import main

heavy, commands = json.load(sys.stdin)
for words in commands:
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            main(words)
        except SystemExit as left:
            code = left.code or 0
    print(json.dumps([code, [name for name in heavy if name in sys.modules]]), flush=True)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an extracted corpus, recipes, settings of another system and a pickle."""
    folder = tmp_path_factory.mktemp("imports")
    corpus = tiny_corpus(folder, clips=16)
    recipe = tiny_recipe(corpus, folder / "stores")
    tiny_store(recipe)
    plain = recipe.model_dump(mode="json")
    write(folder / "recipe.yaml", plain)
    broken = (corpus / "train.tsv").read_text().replace("\tposes/", "\tlost/", 1)
    (corpus / "broken.tsv").write_text(broken.replace("signal_start", "signal_begin", 1))
    write(folder / "broken.yaml", {**plain, "source": {**plain["source"], "train": "broken.tsv"}})
    manifest = {"kind": "feature_manifest", "fps": 25.0, "root": str(folder)}
    manifest |= dict.fromkeys(("train", "validation"), str(folder / "nothing.tsv"))
    given = {"kind": "precomputed", "stream": "features"}
    write(folder / "given.yaml", {**plain, "source": manifest, "features": given})
    found = [{"coordinates": x, "labels": "Turn."} for x in motions(2)]
    (folder / "motions.pkl").write_bytes(pickle.dumps(found))
    return folder


def write(path: Path, plain: object) -> None:
    path.write_text(yaml.safe_dump(plain))


def after(place: Path, commands: list[tuple[str, ...]]) -> list[tuple[int, list[str]]]:
    """Run commands in one fresh process; the exit code and the heavy modules after each."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps([HEAVY, commands]),
        capture_output=True,
        text=True,
        cwd=place,
        env={**os.environ, "KINESWEEP_HOME": str(place / "home")},
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(commands) and "Traceback" not in done.stderr, done.stderr
    return [(code, heavy) for code, heavy in lines]


WORKING: list[tuple[str, ...]] = [
    ("--help",),
    ("train", "--help"),
    ("schema", "recipe"),
    ("schema", "space"),
    ("check", "recipe.yaml"),
    ("split", "recipe.yaml", "folds", "--by", "document", "--folds", "2"),
    ("show", "recipe.yaml"),
    ("show", "recipe.yaml", "--clip", "validation_00000"),
    ("prepare", "generic", "corpus", "corpus", "prepared"),
    ("convert", "motions.pkl", "motions.tsv"),
    ("convert", str(ROOT / "jobs/interop/multimodalhugs.yaml"), "converted.yaml"),
    ("sample", "sample", "--clips", "12"),
    ("status",),
]
SPACE = str(ROOT / "search_spaces/sample.yaml")
REFUSED: list[tuple[str, ...]] = [
    ("train", "recipe.yaml", "traning.seed=3"),
    ("train", "recipe.yaml", "training.seed=x", "--dry-run"),
    ("repeat", "recipe.yaml", "traning.seed=3"),
    ("run", "recipe.yaml", "traning.seed=3"),
    ("train-embedder", "recipe.yaml", "traning.seed=3"),
    ("pretrain", "recipe.yaml", "objective.mask_ratoi=0.5"),
    ("extract", "recipe.yaml", "traning.seed=3"),
    ("check", "recipe.yaml", "traning.seed=3"),
    ("check", "broken.yaml"),
    ("check", "given.yaml"),
    ("split", "recipe.yaml", "folds", "--by", "document", "--folds", "2"),
    ("show", "nowhere"),
    ("convert", "nowhere.yaml", "out.yaml"),
    ("convert", "recipe.yaml", "no.tsv", "--model", "nowhere"),
    ("sweep", SPACE, "serch.trials=3"),
    ("sweep", SPACE, "recipe.traning.seed=3", "--dry-run"),
    ("plan", SPACE, "serch.trials=3"),
    ("plan", SPACE, "--cluster", "cpu:8"),
    ("status", "nowhere"),
    ("evaluate", "nowhere"),
    ("translate", "nowhere", "motions.tsv"),
    ("attention", "nowhere", "motions.tsv", "--out", "page.html"),
    ("export", "nowhere", "bundle"),
    ("diff", "nowhere", "nowhere"),
    ("estimate-poses", "nowhere", "--out", "poses"),
    ("export-features", "nowhere", "features"),
    ("prepare", "nowhere", "out"),
    ("prepare", "nowhere", "out", "--from", "tfds"),
    ("prepare", "nowhere", "out", "--from", "hf", "--data-dir", "data"),
]


def test_commands_without_a_model_load_no_library_that_takes_seconds(place: Path) -> None:
    for words, (code, heavy) in zip(WORKING, after(place, WORKING), strict=True):
        assert (code, heavy) == (0, []), words


def test_refused_input_loads_no_library_that_takes_seconds(place: Path) -> None:
    for words, (code, heavy) in zip(REFUSED, after(place, REFUSED), strict=True):
        assert (code, heavy) == (2, []), words
