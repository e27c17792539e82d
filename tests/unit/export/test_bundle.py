"""A bundle holds what it must, replaces nothing by accident, and shows every damage."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import kinesweep
from corpus import tiny_store
from kinesweep.checkpoints.checkpoints import create_checkpoint_folder, publish_checkpoint
from kinesweep.checkpoints.model_dir import read_model_folder
from kinesweep.checkpoints.progress import TrainingProgress
from kinesweep.core.clip import Clip
from kinesweep.core.errors import BundleError, CheckpointError
from kinesweep.core.hashing import compute_file_hashes, compute_file_sha256
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.export import Bundle, check_bundle_files, export_bundle
from kinesweep.export import bundle as module
from kinesweep.export.bundle_manifest import write_bundle_manifest
from kinesweep.store.format.index import ClipRecord
from kinesweep.training.loop.run import RunSpec, train_run
from kinesweep.training.run_records.result import read_run_result

pytestmark = pytest.mark.integration


def test_it_holds_everything(bundle, run, store):
    names = {path.name for path in bundle.iterdir()}
    assert names >= {"config.json", "model.safetensors", "tokenizer.json", "generation_config.json"}
    assert names >= {
        "recipe.yaml",
        "features.json",
        "README.md",
        "predictions.tsv",
        "manifest.json",
    }
    for name in names - {"manifest.json"}:
        assert check_bundle_files(bundle)[name] == compute_file_sha256(bundle / name)
    card = (bundle / "README.md").read_text()
    result = read_run_result(run)
    for fact in (store.fingerprint, result.weights_sha256, f"{result.scores['bleu']:.3f}"):
        assert fact in card
    assert result.signatures["bleu"].replace("|", "\\|") in card
    assert "The test split was not scored" in card
    accuracy = result.scores["token_accuracy"]
    assert f"| validation | token_accuracy | {accuracy:.3f} | `% of tokens" in card


def test_it_tells_nothing_of_the_machine(bundle, recipe, run):
    folder = str(Path(recipe.source.train).parents[1])
    assert folder in (run / "best" / "recipe.yaml").read_text()
    for path in bundle.rglob("*"):
        if path.is_file() and path.suffix != ".safetensors":
            assert folder not in path.read_text(encoding="utf-8"), path
    kept = Bundle.load(bundle).loaded.recipe
    assert (kept.source.train, kept.store.root) == ("train.tsv", None)


def test_equal_runs_give_equal_bundles(bundle, run, store, tmp_path):
    again = export_bundle(run, tmp_path / "again", store)
    assert compute_file_hashes(again) == compute_file_hashes(bundle)


def test_test_scores_and_title_stand_on_the_card(run, store, tmp_path):
    out = export_bundle(run, tmp_path / "b", store, title="Mine", test_scores={"bleu": 12.25})
    card = (out / "README.md").read_text()
    assert "\n---\n\n# Mine\n" in card and "| test | bleu | 12.250 |" in card
    assert "not scored" not in card


def test_what_is_there_is_not_replaced_unasked(bundle, run, store, tmp_path):
    with pytest.raises(BundleError, match="exists"):
        export_bundle(run, bundle, store)
    mine = tmp_path / "thesis"
    mine.mkdir()
    (mine / "chapter.tex").write_text("…")
    with pytest.raises(BundleError, match="not a bundle"):
        export_bundle(run, mine, store, overwrite=True)
    assert (mine / "chapter.tex").exists()


OTHERS = {
    "a feature store": lambda path, run, store: shutil.copytree(store.folder, path),
    "a checkpoint": lambda path, run, store: publish_checkpoint(
        create_checkpoint_folder(path.parent, 1), 1, TrainingProgress()
    ).folder.rename(path),
    "a folder with": lambda path, run, store: shutil.copytree(run / "best", path),
    "an empty folder": lambda path, run, store: path.mkdir(),
    "a file": lambda path, run, store: path.touch(),
}


@pytest.mark.parametrize("what", OTHERS)
def test_only_a_bundle_is_overwritten(what, run, store, tmp_path):
    """Stores and checkpoints have a `manifest.json` too."""
    OTHERS[what](tmp_path / "b", run, store)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BundleError, match=f"not a bundle but {what}"):
        export_bundle(run, tmp_path / "b", store, overwrite=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_export_that_fails_leaves_the_old_bundle(bundle, run, store, monkeypatch):
    before = compute_file_hashes(bundle)
    monkeypatch.setattr(module, "write_model_card", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_bundle(run, bundle, store, overwrite=True)
    assert compute_file_hashes(bundle) == before
    monkeypatch.undo()
    (bundle / "README.md").write_text("old")
    export_bundle(run, bundle, store, overwrite=True)
    assert compute_file_hashes(bundle) == before


def test_only_whole_runs_are_exported(recipe, store, run, tmp_path):
    with pytest.raises(CheckpointError, match="is not finished yet"):
        export_bundle(tmp_path, tmp_path / "b", store)
    stopped = RunSpec(recipe, store.folder, tmp_path / "stopped")
    train_run(stopped, NullRunLogger(), lambda _: False)
    with pytest.raises(CheckpointError, match="is stopped"):
        export_bundle(stopped.folder, tmp_path / "b", store)
    searched = shutil.copytree(run, tmp_path / "searched")
    shutil.rmtree(searched / "predictions")
    with pytest.raises(CheckpointError, match="only part of validation"):
        export_bundle(searched, tmp_path / "b", store)
    assert not (tmp_path / "b").exists()


def test_another_store_is_refused(recipe, run, tmp_path):
    features = recipe.features.model_copy(update={"stride": 3})
    other = tiny_store(recipe.model_copy(update={"features": features}))
    with pytest.raises(BundleError, match="give the store of the run"):
        export_bundle(run, tmp_path / "b", other)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "a flipped byte of the weights": ("model.safetensors", flip),
    "another tokenizer": ("tokenizer.json", lambda path: path.write_text("{}")),
    "other features": ("features.json", flip),
    "a missing card": ("README.md", Path.unlink),
    "missing weights": ("model.safetensors", Path.unlink),
    "a tokenizer too many": ("spiece.model", lambda path: path.write_bytes(b"x")),
    "a nested file too many": ("more/code.py", lambda path: (path.parent.mkdir(), path.touch())),
    "a damaged manifest": ("manifest.json", lambda path: path.write_text("[]")),
    "no manifest": ("manifest.json", Path.unlink),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named(bundle, damage):
    name, do = DAMAGES[damage]
    do(bundle / name)
    with pytest.raises(BundleError, match=name):
        Bundle.load(bundle)


@pytest.mark.parametrize("key", ["feature_step", "store_dtype", "streams", "encoder_prompt"])
def test_a_key_that_is_missing_is_named(bundle, key):
    """The manifest agrees with the file, as if an export had written it so."""
    path = bundle / "features.json"
    content = json.loads(path.read_text())
    del content[key]
    path.write_text(json.dumps(content))
    (bundle / "manifest.json").unlink()
    write_bundle_manifest(bundle)
    with pytest.raises(BundleError, match=rf"features\.json.*lacks {key}"):
        Bundle.load(bundle)


def test_all_damages_are_named_at_once(bundle):
    flip(bundle / "README.md")
    (bundle / "config.json").unlink()
    with pytest.raises(BundleError, match=r"config\.json.*missing.*README\.md.*changed"):
        check_bundle_files(bundle)


def test_weights_that_are_not_the_models_are_refused(bundle, tmp_path):
    """Also with a manifest that agrees: loading is exact."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(bundle / "model.safetensors")
    lost = sorted(tensors)[0]
    del tensors[lost]
    save_file(tensors, bundle / "model.safetensors", metadata={"format": "pt"})
    renew_manifest(bundle)
    with pytest.raises(BundleError, match="missing"):
        Bundle.load(bundle)


def test_what_no_loader_reads_may_be_added(bundle):
    (bundle / "LICENSE").write_text("hello")
    (bundle / ".gitattributes").write_text("*")
    assert "LICENSE" not in check_bundle_files(bundle)


def test_a_bundle_with_the_former_name_of_its_card_is_read_and_replaced(bundle, run, store):
    (bundle / "README.md").rename(bundle / "card.md")
    renew_manifest(bundle)
    assert Bundle.load(bundle).loaded.recipe.name == "tiny"
    export_bundle(run, bundle, store, overwrite=True)
    assert {"README.md"} == {path.name for path in bundle.iterdir()} & {"README.md", "card.md"}


def test_a_later_format_is_refused(bundle):
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**manifest, "format": 9}))
    with pytest.raises(BundleError, match="format 9"):
        Bundle.load(bundle)


def fresh_process(code, bundle):
    """What a process prints that knows nothing yet."""
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundle)],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(kinesweep.__file__).parents[1]),
            "OMP_NUM_THREADS": "1",
        },
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.slow
def test_auto_classes_load_it_after_importing_the_package(bundle):
    """Whichever of both is imported first, each order in a process of its own."""
    code = """
import importlib, os, sys, torch
for order in (("kinesweep", "transformers"), ("transformers", "kinesweep")):
    if not os.fork():
        transformers = {name: importlib.import_module(name) for name in order}["transformers"]
        model, info = transformers.AutoModel.from_pretrained(sys.argv[1], output_loading_info=True)
        print(type(model).__name__, sum(map(len, info.values())), flush=True)
        os._exit(0)
    os.wait()
"""
    assert fresh_process(code, bundle) == ["Translator", "0"] * 2


@pytest.mark.slow
def test_hugging_face_alone_reads_tokenizer_and_generation(bundle, run):
    code = """
import sys
from transformers import AutoTokenizer, GenerationConfig
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
generation = GenerationConfig.from_pretrained(sys.argv[1])
assert not any(name.startswith("kinesweep") for name in sys.modules)
print(len(tokenizer), generation.num_beams, generation.max_new_tokens)
"""
    size = read_model_folder(run / "best").tokenizer.vocabulary.size
    assert fresh_process(code, bundle) == [str(size), "2", "12"]


def test_the_commonest_prompts_of_train_are_kept(run):
    class Few:
        def get_records(self, split):
            prompts = ["__asl__", "__gsl__", "__asl__"] if split == "train" else ["__x__"] * 5
            return [
                ClipRecord(Clip("c", split, "m", encoder_prompt=p, decoder_prompt="__en__"), {})
                for p in prompts
            ]

    reading = module._build_export_metadata(read_model_folder(run / "best"), Few())
    assert (reading["encoder_prompt"], reading["decoder_prompt"]) == ("__asl__", "__en__")


def renew_manifest(bundle):
    (bundle / "manifest.json").unlink()
    files = compute_file_hashes(bundle)
    (bundle / "manifest.json").write_text(json.dumps({"format": 1, "files": files}))
