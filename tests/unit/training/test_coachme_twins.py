"""Twins of CoachMe's pickles, from the files to translations: references, targets, a run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from coachme import joints, records, standards, write
from kinesweep.checkpoints.model_dir import read_model_folder
from kinesweep.config.loading import load_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.data.evaluation import build_eval_batches, get_references
from kinesweep.data.text_tokenizer import TextTokenizer, build_tokenizer
from kinesweep.data.train_dataset import TrainDataset
from kinesweep.evaluation.evaluate import evaluate_loaded_model
from kinesweep.export import Bundle, export_bundle, find_inputs
from kinesweep.interop.coachme.conversion import convert_coachme_data
from kinesweep.sources.splitting.cross_validation import write_folds
from kinesweep.store import Store
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.loop.run import RunSpec, train_run

pytestmark = pytest.mark.integration

TINY = Path(__file__).parents[3] / "jobs" / "recipes" / "motion2text_skating_tiny.yaml"


class Twin:
    """A sport in a setting: pickles, tables, folds and the recipe over the first fold."""

    def __init__(self, folder: Path, sport: str, setting: Any) -> None:
        self.folder = folder
        self.found = {"train": records(sport, 12), "test": records(sport, 3, start=50)}
        self.correct = {s["video_name"]: joints(s) for s in standards(sport)}
        standard = write(folder / "standard.pkl", standards(sport))
        for split, found in self.found.items():
            path = write(folder / f"{split}.pkl", found)
            convert_coachme_data(path, folder / "data" / f"{split}.tsv", setting, standard)
        self.setting, data = setting, folder / "data"
        tables = [f"source.{s}={data / s}.tsv" for s in self.found]
        plain = ["source.signer_pattern=^([^_]+)_", f"store.root={folder / 'stores'}"]
        every = load_config(
            Recipe, TINY, [*plain, *tables, "source.validation=null", "source.motions=null"]
        )
        by: Any = "document" if sport == "skating" else "signer"
        write_folds(every.source, by, 3, 1, folder / "folds")
        fold = folder / "folds" / "fold-0"
        tables = [f"source.{s}={fold / s}.tsv" for s in ("train", "validation", "test")]
        self.overrides = [*plain, *tables, f"source.motions={data}"]

    def recipe(self, *overrides: str) -> Recipe:
        short = ["training.max_steps=4", "training.eval_steps=2", "training.warmup_steps=1"]
        return load_config(Recipe, TINY, [*self.overrides, *short, *overrides])

    def find_entries(self, store: Store, split: str) -> dict[str, dict[str, Any]]:
        entries = {e["video_name"]: e for found in self.found.values() for e in found}
        return {r.clip.id: entries[r.clip.id] for r in store.get_records(split)}


@pytest.fixture(scope="module", params=[("boxing", "aligned"), ("skating", "gt")], ids="-".join)
def twin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Twin:
    return Twin(tmp_path_factory.mktemp("twin"), *request.param)


@pytest.fixture(scope="module")
def store(twin: Twin) -> Store:
    return extract_locally(twin.recipe())


def center_first(x_TJC: NDArray[np.float32]) -> NDArray[np.float32]:
    return (x_TJC - x_TJC[:1, :1]).reshape(len(x_TJC), -1)


def test_a_reference_is_the_span_of_the_standard(twin: Twin) -> None:
    """Frame by frame, exact as written without centring, and from its own first frame with it."""
    exact = ["features.scale=none", "store.dtype=float32"]
    for centre, change in (("none", lambda x: x.reshape(len(x), -1)), ("first", center_first)):
        made = extract_locally(twin.recipe(*exact, f"features.centre={centre}"))
        seen = 0
        for split in made.splits:
            entries = twin.find_entries(made, split)
            for record in made.get_records(split):
                entry, found = entries[record.clip.id], made.get_features(record)
                start, length = (entry[f"{twin.setting}_{k}"] for k in ("start_frame", "seq_len"))
                other = entry[f"{twin.setting}_std_start_frame"]
                own_TJC = joints(entry)[start : start + length]
                correct_TJC = twin.correct[entry["motion_type"]][other : other + length]
                np.testing.assert_array_equal(found["pose"], change(own_TJC))
                np.testing.assert_array_equal(found["reference"], change(correct_TJC))
                seen += 1
        assert seen > 12


@pytest.mark.parametrize("choice", ["first", "random", "each", "min_loss"])
def test_training_has_augmented_targets_and_evaluation_no_such_references(
    twin: Twin, store: Store, choice: str
) -> None:
    recipe = twin.recipe(f"batch.reference_choice={choice}")
    clips = [record for split in store.splits for record in store.get_records(split)]
    tokenizer = build_tokenizer(recipe.model.tokenizer, clips, None, (), None, True)
    data = TrainDataset(store, tokenizer, recipe.effective_batch, 1)
    entries = twin.find_entries(store, "train")
    targets: dict[str, set[str]] = {name: set() for name in entries}
    for position in range(60):
        batch = data[position]
        for row, name in enumerate(batch.clip_ids):
            labels = batch.labels_BL[row : row + 1]
            labels = labels if batch.labels_BRL is None else batch.labels_BRL[row]
            targets[name] |= {decode(tokenizer, label) for label in labels} - {""}
    for name, entry in entries.items():
        texts = entry["labels"] + entry["augmented_labels"]
        assert targets[name] == (set(entry["labels"][:1]) if choice == "first" else set(texts))
    for split in ("train", "validation", "test"):
        entries = twin.find_entries(store, split)
        references = get_references(store, split, list(entries))
        assert references == {name: tuple(e["labels"]) for name, e in entries.items()}
        batches = build_eval_batches(store, split, tokenizer, 400)
        for batch in (batches[i] for i in range(len(batches))):
            assert batch.labels_BRL is None
            for name, label in zip(batch.clip_ids, batch.labels_BL, strict=True):
                assert decode(tokenizer, label) == entries[name]["labels"][0]
        held = [r.clip.augmented_texts for r in store.get_records(split)]
        assert all(held) if split == "train" else not any(held)


def decode(tokenizer: TextTokenizer, label: Any) -> str:
    return tokenizer.decode(label[label >= 0])


def test_a_run_is_scored_and_its_bundle_translates_the_table(twin: Twin, store: Store) -> None:
    run = twin.folder / "run"
    result = train_run(RunSpec(twin.recipe(), store.folder, run), NullRunLogger(), lambda _: True)
    assert result.status == "finished"
    scored = evaluate_loaded_model(read_model_folder(run / "best"), store, "test")
    entries = twin.find_entries(store, "test")
    assert {p.clip_id: list(p.references) for p in scored.predictions} == {
        name: entry["labels"] for name, entry in entries.items()
    }
    bundle = Bundle.load(export_bundle(run, twin.folder / "bundle", store))
    inputs = find_inputs([twin.folder / "data" / "test.tsv"], twin.recipe().source)
    texts = bundle.translate([item for _, item in inputs])
    assert [name for name, _ in inputs] == list(entries) and len(texts) == len(entries)
    assert texts == [{p.clip_id: p.hypothesis for p in scored.predictions}[n] for n, _ in inputs]


def test_weights_of_captions_learn_from_standards(tmp_path: Path) -> None:
    """As published: first against the held first frame, then with adapters against standards."""
    twin = Twin(tmp_path, "skating", "error")
    store = extract_locally(twin.recipe())
    brief = ["training.max_steps=1", "training.eval_steps=1", "training.warmup_steps=0"]
    captions = twin.recipe("features.reference.method=first_frame", *brief)
    first, second = twin.folder / "captions", twin.folder / "coached"
    spec = RunSpec(captions, extract_locally(captions).folder, first)
    train_run(spec, NullRunLogger(), lambda _: True)
    coached = twin.recipe(f"model.init_from={first / 'best'}", "model.encoder.lora.rank=2", *brief)
    result = train_run(RunSpec(coached, store.folder, second), NullRunLogger(), lambda _: True)
    assert result.status == "finished"
