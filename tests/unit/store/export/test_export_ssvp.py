"""Features in SSVP-SLT's layout: read into a store, handed over, read again, to the bit."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_corpus import change, extraction, make_corpus

from corpus import tiny_recipe
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.augmentation import AugmentationConfig
from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.source import FeatureManifestConfig
from kinesweep.core.errors import InputError, StoreError
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.data.length_limits import filter_clips_by_length
from kinesweep.data.run_length.epoch_planner import EpochPlanner
from kinesweep.features.augmentation import Augmentation
from kinesweep.pipelines.corpus_check import check_corpus
from kinesweep.sources.precomputed.feature_manifest import FeatureManifestSource
from kinesweep.store import Store
from kinesweep.store.export.augmented_copies import AugmentedCopiesSpec, build_augmented_copies_spec
from kinesweep.store.export.export_h5 import export_h5_shards
from kinesweep.store.export.export_ssvp import EXPORT_MARKER, export_ssvp_features
from kinesweep.store.extraction.build import build_store, extract_locally

WIDTH = 5
CLIPS = {
    "train": {"-aYouTube_0": (3, 'He said "no".'), "bb": (4, "Grüße."), "bbbbbbb": (2, "Three.")},
    "val": {"vv": (6, "Vier.")},
    "test": {"tt 1": (1, "Fünf.")},
}
"""Manifest → name → length and text."""


def given(folder: Path, epochs: tuple[int, ...] = (0, 1)) -> Path:
    """Manifests and features as SSVP-SLT leaves them; every value is another."""
    rng = np.random.default_rng(0)
    (folder / "manifests").mkdir(parents=True)
    for split, clips in CLIPS.items():
        lines = [f"{name}\t{length}\t{text}" for name, (length, text) in clips.items()]
        (folder / "manifests" / f"{split}_features.tsv").write_text("\n".join(lines))
        for epoch in epochs if split == "train" else epochs[:1]:
            for name, (length, _) in clips.items():
                path = folder / "features" / str(epoch) / name[:5] / f"{name}.pt"
                path.parent.mkdir(parents=True, exist_ok=True)
                values = rng.normal(size=(length, WIDTH)).astype(np.float32)
                torch.save(torch.from_numpy(values), path)
    return folder


def recipe_of(folder: Path, root: Path, **source: Any) -> Recipe:
    """A recipe over manifests."""
    plain = tiny_recipe(folder, root).model_dump(mode="json")
    splits = {"train": "train", "validation": "val", "test": "test"}
    paths = {s: str(folder / "manifests" / f"{n}_features.tsv") for s, n in splits.items()}
    plain["source"] = {"kind": "feature_manifest", "epochs": [0, 1], **paths, **source}
    plain |= {"features": {"kind": "precomputed"}, "store": {"dtype": "float32", "root": str(root)}}
    return validate_config(Recipe, plain, "test")


def tensors(folder: Path) -> dict[str, list[list[float]]]:
    """Path below the features → values."""
    below = folder / "features"
    found = {path.relative_to(below).as_posix(): torch.load(path) for path in below.rglob("*.pt")}
    assert all(tensor.dtype == torch.float32 for tensor in found.values())
    return {path: tensor.tolist() for path, tensor in found.items()}


def content(store: Store) -> list[tuple[Any, ...]]:
    """All that a store says of its clips."""
    records = [record for split in store.splits for record in store.get_records(split)]
    return [
        (record.clip.id, record.clip.split, record.clip.texts, record.lengths, record.rates_hz,
         store.get_features(record)["video"].tobytes())
        for record in records
    ]  # fmt: skip


def test_features_from_elsewhere_become_a_store(tmp_path: Path) -> None:
    store = extract_locally(recipe_of(given(tmp_path / "in"), tmp_path / "stores"))
    assert store.schema.streams["video"].width == WIDTH
    assert store.schema.streams["video"].rate_hz == 12.5
    lengths = [(r.clip.id, r.lengths["video"]) for r in store.get_records("train")]
    assert lengths == [
        *(("-aYouTube_0", 3), ("-aYouTube_0@1", 3), ("bb", 4), ("bb@1", 4)),
        *(("bbbbbbb", 2), ("bbbbbbb@1", 2)),
    ]
    files = tensors(tmp_path / "in")
    for split in store.splits:
        for record in store.get_records(split):
            assert store.get_features(record)["video"].tolist() == files[record.clip.media]
    assert [len(store.get_records(split)) for split in ("validation", "test")] == [1, 1]


def test_there_and_back_is_the_same_to_the_bit(tmp_path: Path) -> None:
    store = extract_locally(recipe_of(given(tmp_path / "in"), tmp_path / "stores"))
    told: list[tuple[int, int]] = []
    done = export_ssvp_features(store, tmp_path / "out", progress=lambda *step: told.append(step))
    assert (done.stream, done.width, done.references_left) == ("video", WIDTH, 0)
    assert (done.clips, done.epochs) == ({"train": 3, "validation": 1, "test": 1}, {0: 3, 1: 3})
    assert told == [(number, 5) for number in range(1, 6)]
    assert tensors(tmp_path / "out") == tensors(tmp_path / "in")
    for name in ("train", "val", "test"):
        file = f"manifests/{name}_features.tsv"
        before, after = ((tmp_path / place / file).read_text() for place in ("in", "out"))
        assert after == f"video_name\tlength\tlabel\n{before}\n"
    again = extract_locally(recipe_of(tmp_path / "out", tmp_path / "other"))
    assert content(again) == content(store)
    export_ssvp_features(again, tmp_path / "twice")
    for path in (tmp_path / "out").glob("*/**/*.*"):
        twin = tmp_path / "twice" / path.relative_to(tmp_path / "out")
        assert twin.read_bytes() == path.read_bytes()


def test_epochs_keep_their_numbers(tmp_path: Path) -> None:
    folder = given(tmp_path / "in", epochs=(3, 0))
    store = extract_locally(recipe_of(folder, tmp_path / "stores", epochs=[3, 0]))
    assert export_ssvp_features(store, tmp_path / "out", epoch=3).epochs == {3: 3, 0: 3}
    assert tensors(tmp_path / "out") == tensors(folder)
    with pytest.raises(InputError, match=r"_0` and `-aYouTube_0@0` would both be written to `0/-a"):
        export_ssvp_features(store, tmp_path / "clash")
    assert not (tmp_path / "clash").exists()


def test_a_damaged_file_of_validation_ends_the_extraction(tmp_path: Path) -> None:
    folder = given(tmp_path / "in")
    file = folder / "features/0/vv/vv.pt"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(StoreError, match=r"1 of validation.*\n  unreadable  1\n.*:1: .*0/vv/vv.pt"):
        extract_locally(recipe_of(folder, tmp_path / "stores"))
    file.unlink()
    with pytest.raises(StoreError, match=r"1 of validation.*\n  missing_file  1\n.*0/vv/vv.pt"):
        extract_locally(recipe_of(folder, tmp_path / "stores"))


def test_a_mended_length_is_another_corpus(tmp_path: Path) -> None:
    folder = given(tmp_path / "in")
    manifest = folder / "manifests/train_features.tsv"
    right = manifest.read_text()
    recipe = recipe_of(folder, tmp_path / "stores")
    recipe = validate_config(
        Recipe,
        {**recipe.model_dump(), "store": {**recipe.store.model_dump(), "max_dropped_share": 0.5}},
        "test",
    )
    manifest.write_text(right.replace("bb\t4\t", "bb\t5\t"))
    assert extract_locally(recipe).manifest["dropped"]["reasons"] == {"wrong_length": 1}
    manifest.write_text(right)
    assert extract_locally(recipe).manifest["dropped"]["reasons"] == {}


def poses(tmp_path: Path, *ids: str, **values: Any) -> Store:
    """A store of three clips of train and one of validation, with these ids."""
    source = make_corpus(tmp_path, train=3, validation=1)
    for old, new in zip(("train-0", "train-1", "train-2", "validation-0"), ids, strict=False):
        source = change(source, old, id=new, **values)
    return build_store(extraction(source, tmp_path / "stores"))


def test_names_are_safe_and_half_precision_is_exact(tmp_path: Path) -> None:
    store = poses(tmp_path, "a/b\\c", "..", "long@40-80")
    export_ssvp_features(store, tmp_path / "out")
    lines = (tmp_path / "out/manifests/train_features.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines[1:]] == ["a_b_c", "_.", "long@40-80"]
    files = tensors(tmp_path / "out")
    assert sorted(files) == ["0/_./_..pt", "0/a_b_c/a_b_c.pt", "0/long@/long@40-80.pt",
                             "0/valid/validation-0.pt"]  # fmt: skip
    first = store.get_features(store.get_records("train")[0])["pose"]
    assert first.dtype == np.float16 and files["0/a_b_c/a_b_c.pt"] == first.tolist()


@pytest.mark.parametrize("ids", [("a/b", "a_b"), ("a", "b", "c/d", "c_d")])
def test_two_clips_of_one_name_are_an_error(tmp_path: Path, ids: tuple[str, ...]) -> None:
    store = poses(tmp_path, *ids)
    with pytest.raises(InputError, match=f"`{ids[-2]}` and `{ids[-1]}` would both be written"):
        export_ssvp_features(store, tmp_path / "out")


def test_an_id_like_a_copy_s_is_a_clip_of_its_own(tmp_path: Path) -> None:
    """The clip that it would be a copy of has other texts, or is not there."""
    done = export_ssvp_features(poses(tmp_path, "a", "a@1", "z@1"), tmp_path / "out")
    assert (done.clips["train"], done.epochs) == (3, {0: 3})


def test_further_references_are_counted(tmp_path: Path) -> None:
    store = poses(tmp_path, "a", texts=("One.", "Two.", "Three."))
    assert export_ssvp_features(store, tmp_path / "out").references_left == 2
    assert "\tOne.\n" in (tmp_path / "out/manifests/train_features.tsv").read_text()


def test_a_text_that_no_manifest_can_hold(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the text of `a` contains a tab"):
        export_ssvp_features(poses(tmp_path, "a", texts=("One\tTwo",)), tmp_path / "out")


def test_nothing_is_written_over_anything_unasked(tmp_path: Path) -> None:
    store, out = poses(tmp_path), tmp_path / "out"
    export_ssvp_features(store, out)
    with pytest.raises(InputError, match="--overwrite"):
        export_ssvp_features(store, out)
    stray = out / "features/0/stray/stray.pt"
    stray.parent.mkdir()
    stray.write_text("of an earlier hand-over")
    export_ssvp_features(store, out, overwrite=True)
    assert not stray.exists() and len(tensors(out)) == 4
    (out / EXPORT_MARKER).unlink()
    with pytest.raises(InputError, match="is not an earlier export"):
        export_ssvp_features(store, out, overwrite=True)
    assert len(tensors(out)) == 4


def test_a_broken_off_hand_over_has_no_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, out = poses(tmp_path), tmp_path / "out"

    def full(done: int, _: int) -> None:
        if done == 2:
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        export_ssvp_features(store, out, progress=full)
    assert not (out / "manifests").exists()
    export_ssvp_features(store, out, overwrite=True)
    assert len(tensors(out)) == 4


def test_the_stream_is_one_of_the_store_s(tmp_path: Path) -> None:
    store = poses(tmp_path)
    assert export_ssvp_features(store, tmp_path / "out", stream="pose").stream == "pose"
    with pytest.raises(InputError, match="no stream `hands`; choose one with `--stream`: pose"):
        export_ssvp_features(store, tmp_path / "other", stream="hands")


def test_varied_epochs_are_those_of_a_run(tmp_path: Path) -> None:
    store = poses(tmp_path)
    varied = Augmentation(AugmentationConfig(speed=0.5, noise=0.1), store.schema, 7, 100)
    assert isinstance(store.schema.streams["pose"].layout, PointLayout)
    done = export_ssvp_features(
        store, tmp_path / "out", epoch=2, augmented_copies=AugmentedCopiesSpec(varied, 3)
    )
    assert done.epochs == {2: 3, 3: 3, 4: 3}
    files = tensors(tmp_path / "out")
    assert sum(path.startswith("2/") for path in files) == 4  # validation, too
    lines = (tmp_path / "out/manifests/train_features.tsv").read_text().splitlines()[1:]
    for record, line in zip(store.get_records("train"), lines, strict=True):
        name = record.clip.id
        for epoch in range(3):
            expected = varied(store.get_features(record), name, epoch)["pose"]
            assert files[f"{2 + epoch}/{name[:5]}/{name}.pt"] == expected.tolist()
        assert line.split("\t")[1] == str(len(varied(store.get_features(record), name, 0)["pose"]))
    clip = store.get_records("validation")[0]
    plain = store.get_features(clip)["pose"].astype(np.float32)
    assert files["2/valid/validation-0.pt"] == plain.tolist()


def test_what_cannot_be_varied(tmp_path: Path) -> None:
    recipe = recipe_of(given(tmp_path / "in"), tmp_path / "stores")
    store = extract_locally(recipe)
    with pytest.raises(InputError, match="enables no augmentation"):
        build_augmented_copies_spec(store, recipe.batch.augmentation, 0, {}, 2)
    batch = {"augmentation": {"speed": 0.2}}
    faster = validate_config(Recipe, {**recipe.model_dump(), "batch": batch}, "test")
    variation = build_augmented_copies_spec(store, faster.batch.augmentation, 0, {}, 2)
    assert (variation.num_copies, variation.augmentation.max_frames) == (2, 4)
    with pytest.raises(InputError, match=r"contains copies \(`-aYouTube_0` and `-aYouTube_0@1`\)"):
        export_ssvp_features(store, tmp_path / "out", augmented_copies=variation)


def test_an_export_of_another_layout_is_not_replaced(tmp_path: Path) -> None:
    store, out = poses(tmp_path), tmp_path / "out"
    export_h5_shards(store, out)
    files = sorted(out.rglob("*"))
    with pytest.raises(InputError, match="names another layout"):
        export_ssvp_features(store, out, overwrite=True)
    assert sorted(out.rglob("*")) == files


def test_a_marker_without_a_layout_is_that_of_an_earlier_version(tmp_path: Path) -> None:
    store, out = poses(tmp_path), tmp_path / "out"
    export_ssvp_features(store, out)
    marker = json.loads((out / EXPORT_MARKER).read_text())
    del marker["layout"]
    (out / EXPORT_MARKER).write_text(json.dumps(marker))
    export_ssvp_features(store, out, overwrite=True)
    assert "layout" in json.loads((out / EXPORT_MARKER).read_text())


def test_texts_that_begin_with_a_quotation_mark_are_read_back(tmp_path: Path) -> None:
    texts = ('"Quoted whole."',)
    export_ssvp_features(poses(tmp_path, "a", texts=texts), tmp_path / "out")
    line = (tmp_path / "out/manifests/train_features.tsv").read_text().splitlines()[1]
    assert line.endswith('\t"""Quoted whole."""')
    manifest = str(tmp_path / "out/manifests/train_features.tsv")
    config = FeatureManifestConfig(kind="feature_manifest", train=manifest)
    assert FeatureManifestSource(config).list_clips("train")[0].texts == texts


def test_variants_are_read_in_turn_and_handed_over_again(tmp_path: Path) -> None:
    folder = given(tmp_path / "theirs", (4, 2, 7))
    rng = np.random.default_rng(1)
    for epoch, length in ((2, 9), (7, 2)):  # copies of other lengths than the first
        path = folder / "features" / str(epoch) / "bb" / "bb.pt"
        torch.save(torch.from_numpy(rng.normal(size=(length, WIDTH)).astype(np.float32)), path)
    values = tensors(folder)
    recipe = recipe_of(folder, tmp_path / "stores", epochs=[4, 2, 7], epochs_as="variants")
    check = check_corpus(recipe)
    assert not check.invalid_rows and len(check.clips) == 5
    store = extract_locally(recipe)
    assert [len(store.get_records(split)) for split in store.splits] == [3, 1, 1]
    record = store.get_records("train")[1]
    assert [lengths["video"] for lengths in record.all_lengths] == [4, 9, 2]
    for epoch, name in enumerate((4, 2, 7, 4)):
        found = store.get_features(record.at_epoch(epoch))["video"]
        assert found.tolist() == values[f"{name}/bb/bb.pt"]
    result = export_ssvp_features(store, tmp_path / "ours")
    assert result.epochs == {0: 3, 1: 3, 2: 3}
    ours = tensors(tmp_path / "ours")
    assert len(ours) == 3 * 3 + 2
    for new, old in ((0, 4), (1, 2), (2, 7)):
        for name in ("-aYou/-aYouTube_0", "bb/bb", "bbbbb/bbbbbbb"):
            assert ours[f"{new}/{name}.pt"] == values[f"{old}/{name}.pt"]
    again = extract_locally(
        recipe_of(tmp_path / "ours", tmp_path / "more", epochs=[0, 1, 2], epochs_as="variants")
    )
    assert content(again) == content(store)
    # The other layout has one array per clip, and says so.
    assert export_h5_shards(store, tmp_path / "h5").left == {"further epochs": 3}
    kept = [epoch.at_epoch(1).lengths for epoch in again.get_records("train")]
    assert kept == [epoch.at_epoch(1).lengths for epoch in store.get_records("train")]


def test_a_damaged_variant_is_found_by_the_check_and_dropped(tmp_path: Path) -> None:
    folder = given(tmp_path / "theirs")
    (folder / "features" / "1" / "bb" / "bb.pt").write_bytes(b"damaged")
    recipe = recipe_of(folder, tmp_path / "stores", epochs_as="variants")
    (row,) = check_corpus(recipe).invalid_rows
    assert (row.clip_id, row.split) == ("bb", "train")
    limits = recipe.store.model_copy(update={"max_dropped_share": 0.5})
    store = extract_locally(recipe.model_copy(update={"store": limits}))
    assert [record.clip.id for record in store.get_records("train")] == ["-aYouTube_0", "bbbbbbb"]
    with pytest.raises(StoreError, match=row.reason):
        extract_locally(recipe)


def test_batches_of_variants_fit_the_budget_of_their_epoch(tmp_path: Path) -> None:
    folder = given(tmp_path / "theirs")
    path = folder / "features" / "1" / "bb" / "bb.pt"
    torch.save(torch.ones((9, WIDTH)), path)
    recipe = recipe_of(folder, tmp_path / "stores", epochs_as="variants")
    store = extract_locally(recipe)
    records = store.get_records("train")
    planner = EpochPlanner(records, BatchConfig(max_frames=9), store.schema, seed=0)
    assert planner.lengths == [3, 9, 2]
    assert [list(planner.plan(epoch).lengths) for epoch in range(3)] == [
        [3, 4, 2],
        [3, 9, 2],
        [3, 4, 2],
    ]
    assert len(planner.plan(0).batches) == 2 and (1,) in planner.plan(1).batches
    # A clip that is too long in one epoch is in none, so that all epochs have the same clips.
    kept, dropped = filter_clips_by_length(records, BatchConfig(max_clip_frames=8), "train")
    assert [record.clip.id for record in kept] == ["-aYouTube_0", "bbbbbbb"]
    assert dropped == {"too_long": 1}
