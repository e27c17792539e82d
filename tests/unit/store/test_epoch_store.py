"""Stores whose training clips vary between epochs: extracted once each, read in turn."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from films import write_video
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.features.feature_epochs import list_epoch_recipes
from kinesweep.config.recipe.model import TrainedTokenizerConfig
from kinesweep.core.errors import InputError, StoreError
from kinesweep.core.video_files import VideoSegment
from kinesweep.data.evaluation import build_eval_batches
from kinesweep.data.text_tokenizer import build_tokenizer
from kinesweep.data.train_dataset import TrainDataset
from kinesweep.features.video import VideoFeatures
from kinesweep.store import Store, open_store
from kinesweep.store.extraction.build import extract_locally
from kinesweep.store.extraction.plan import summarize_extraction_plan
from kinesweep.store.format.reader import ExtractionCounts
from kinesweep.store.inspect.checks import find_shared_features, verify_store
from kinesweep.store.inspect.show import describe_store
from parts import POSE, films_with_poses, parts_recipe, video_part
from vision import film_corpus, film_recipe, vision_model

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vision_model(tmp_path_factory.mktemp("models") / "dinov2", "dinov2")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_films(tmp_path_factory.mktemp("films"), train=3, validation=2)


AUGMENTATION = {"random_resized_crop": {"scale": [0.3, 0.6]}}
"""Changes what is seen of the block in every film."""


def small_films(folder: Path, **counts: int) -> Path:
    """A corpus of films so narrow that their block is seen."""
    film_corpus(folder, **counts)
    for film in (folder / "films").iterdir():
        write_video(film, 10 + (int(film.stem) * 17) % 50)
    return folder


def make(corpus: Path, model: Path, root: Path, epochs: int = 2, **changes: Any) -> Recipe:
    features = {"augmentation": AUGMENTATION, "epochs": epochs, **changes.pop("features", {})}
    return film_recipe(
        corpus, model, root, features=features, **{"store": {"dtype": "float32"}, **changes}
    )


def read(store: Store, split: str = "train", epoch: int = 0) -> dict[str, Any]:
    records = store.get_records(split)
    return {r.clip.id: store.get_features(r.at_epoch(epoch))["video"] for r in records}


@pytest.fixture(scope="module")
def two(corpus: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of two epochs."""
    return extract_locally(make(corpus, model, tmp_path_factory.mktemp("stores")))


def test_each_epoch_is_that_of_its_random_numbers(corpus: Path, model: Path, two: Store) -> None:
    recipe = make(corpus, model, two.folder.parent)
    assert two.extraction == ExtractionCounts(computed=2 + 2 * 3, reused=0, dropped=0)
    for item in list_epoch_recipes(recipe)[1:]:
        step = VideoFeatures(item.recipe.features)  # type: ignore[arg-type]
        found = read(two, epoch=item.epoch or 0)
        for record in two.get_records("train"):
            segment = VideoSegment(corpus / record.clip.media, clip_id=record.clip.id)
            alone = step.compute_features(segment)["video"].x_TD
            np.testing.assert_array_equal(found[record.clip.id], alone)
    first, second, third = (read(two, epoch=epoch) for epoch in range(3))
    for clip_id in first:
        assert np.abs(first[clip_id] - second[clip_id]).max() > 0.01
        np.testing.assert_array_equal(first[clip_id], third[clip_id])


def test_validation_is_that_of_a_recipe_without_augmentation(
    corpus: Path, model: Path, two: Store
) -> None:
    plain = extract_locally(
        film_recipe(corpus, model, two.folder.parent, store={"dtype": "float32"})
    )
    # Nothing of validation is computed again, in whichever order.
    assert plain.extraction == ExtractionCounts(computed=3, reused=2, dropped=0)
    for epoch in range(2):
        found, expected = read(two, "validation", epoch), read(plain, "validation")
        assert all(np.array_equal(found[clip_id], expected[clip_id]) for clip_id in expected)
    train = read(plain)
    assert all(not np.array_equal(x, train[clip_id]) for clip_id, x in read(two).items())
    # A video that is translated later is not augmented, whatever the recipe says.
    recipe = make(corpus, model, two.folder.parent)
    step = VideoFeatures(recipe.features)  # type: ignore[arg-type]
    record = plain.get_records("train")[0]
    alone = step.compute_features(VideoSegment(corpus / record.clip.media))["video"].x_TD
    np.testing.assert_array_equal(alone, train[record.clip.id])


def test_more_epochs_need_only_the_new_ones(corpus: Path, model: Path, two: Store) -> None:
    recipe = make(corpus, model, two.folder.parent, epochs=3)
    summary = summarize_extraction_plan(recipe)
    assert (summary.num_to_compute, summary.num_to_reuse, summary.exists) == (3, 8, False)
    three = extract_locally(recipe)
    assert three.extraction == ExtractionCounts(computed=3, reused=8, dropped=0)
    assert three.fingerprint != two.fingerprint
    for epoch in range(2):
        old, new = read(two, epoch=epoch), read(three, epoch=epoch)
        assert all(np.array_equal(old[clip_id], new[clip_id]) for clip_id in old)
    assert summarize_extraction_plan(recipe).exists
    again = extract_locally(recipe)
    assert (again.folder, again.extraction) == (three.folder, ExtractionCounts(0, 11, 0))
    # The store is read like any other.
    for opened in (open_store(three.folder), pickle.loads(pickle.dumps(three))):
        assert [len(r.all_lengths) for r in opened.get_records("train")] == [3] * 3
        assert [len(r.all_lengths) for r in opened.get_records("validation")] == [1] * 2
        verify_store(opened)
        describe_store(opened)
        describe_store(opened, opened.get_records("train")[0].clip.id)
    assert find_shared_features(three) == []


def test_an_interrupted_extraction_keeps_the_epochs_before(
    corpus: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = VideoFeatures.compute_features
    count = 0

    def stop(self: VideoFeatures, media: VideoSegment) -> Any:
        nonlocal count
        count += 1
        if count == 7:  # two of validation, three of the first epoch, one of the second
            raise KeyboardInterrupt
        return whole(self, media)

    recipe = make(corpus, model, tmp_path)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(VideoFeatures, "compute_features", stop)
        extract_locally(recipe)
    store = extract_locally(recipe)
    assert store.extraction == ExtractionCounts(computed=3, reused=5, dropped=0)


def test_what_decides_over_the_pixels_is_in_the_fingerprint(
    corpus: Path, model: Path, two: Store
) -> None:
    root = two.folder.parent

    def plan(**augmentation: Any) -> int:
        changes = {"augmentation": {**AUGMENTATION, **augmentation}}
        recipe = make(corpus, model, root, features=changes)
        return summarize_extraction_plan(recipe).num_to_compute

    cropped = {"random_resized_crop": None, "random_crop_from": 20}
    assert plan(seed=1) == plan(horizontal_flip=0.4) == plan(**cropped) == 6
    assert plan() == 0
    # A clip of another name gets other random numbers.
    renamed = small_films(root / "renamed", train=3, validation=2)
    table = (renamed / "train.tsv").read_text().replace("films/0.mp4", "films/zero.mp4")
    (renamed / "films" / "0.mp4").rename(renamed / "films" / "zero.mp4")
    (renamed / "train.tsv").write_text(table)
    assert summarize_extraction_plan(make(renamed, model, root)).num_to_compute == 2


def test_a_crop_from_frames_that_the_model_reads_whole(
    corpus: Path, model: Path, tmp_path: Path
) -> None:
    changes = {"augmentation": {"random_crop_from": 16}}
    with pytest.raises(InputError, match="nothing would be cropped"):
        extract_locally(make(corpus, model, tmp_path, features=changes))


def test_a_clip_that_fails_is_dropped_once(model: Path, tmp_path: Path) -> None:
    corpus = small_films(tmp_path / "corpus", train=4, validation=1)
    (corpus / "films" / "1.mp4").write_text("no film")
    with pytest.raises(StoreError, match="not_a_video"):
        extract_locally(make(corpus, model, tmp_path / "stores"))
    limits = {"dtype": "float32", "max_dropped_share": 0.2}
    store = extract_locally(make(corpus, model, tmp_path / "stores", store=limits))
    assert [record.clip.id for record in store.get_records("train")] == ["0", "2", "3"]
    assert store.manifest["dropped"]["reasons"] == {"not_a_video": 1}
    assert store.extraction is not None and store.extraction.dropped == 1
    strict = {**limits, "required_splits": ["train"]}
    with pytest.raises(StoreError, match="train"):
        extract_locally(make(corpus, model, tmp_path / "stores", store=strict))


def test_splits_may_have_clips_of_the_same_id(model: Path, tmp_path: Path) -> None:
    corpus = small_films(tmp_path / "corpus", train=2, validation=1, test=1)
    for split, text in (("validation", "Other"), ("test", "Third")):
        table = (corpus / "train.tsv").read_text().replace("This", text)
        (corpus / f"{split}.tsv").write_text(table)
    store = extract_locally(make(corpus, model, tmp_path / "stores"))
    plain = extract_locally(
        film_recipe(corpus, model, tmp_path / "plain", store={"dtype": "float32"})
    )
    for split in ("validation", "test"):
        found, expected = read(store, split), read(plain, split)
        assert all(np.array_equal(found[clip_id], expected[clip_id]) for clip_id in expected)
        texts = [record.clip.texts for record in plain.get_records(split)]
        assert [record.clip.texts for record in store.get_records(split)] == texts
        for clip, record in zip(found.values(), store.get_records("train"), strict=True):
            assert not np.array_equal(clip, store.get_features(record)["video"])


def batches_of(store: Store, config: BatchConfig, positions: range) -> list[Any]:
    tokens = TrainedTokenizerConfig(algorithm="word", size=64)
    text = build_tokenizer(tokens, store.get_records("train"), None)
    dataset = TrainDataset(store, text, config, seed=3)
    if config.loader_workers:
        return list(dataset.build_loader(positions.start, positions.stop))
    return [dataset[position] for position in positions]


@pytest.mark.parametrize("workers", [0, 2])
def test_training_reads_the_variant_of_its_epoch(two: Store, workers: int) -> None:
    config = BatchConfig(batch_size=1, loader_workers=workers)
    found: dict[str, list[Any]] = {}
    for batch in batches_of(two, config, range(12)):
        found.setdefault(batch.clip_ids[0], []).append(batch.streams["video"][0])
    for clip_id, variants in found.items():
        assert len(variants) == 4
        for epoch, x_TD in enumerate(variants):
            np.testing.assert_array_equal(x_TD, read(two, epoch=epoch % 2)[clip_id])
    # A run that continues in the middle of the second epoch reads the same.
    rest = batches_of(two, BatchConfig(batch_size=1), range(4, 12))
    for batch, position in zip(rest, range(4, 12), strict=True):
        same = batches_of(two, config, range(position, position + 1))[0]
        assert batch.clip_ids == same.clip_ids
        np.testing.assert_array_equal(batch.streams["video"], same.streams["video"])


def test_evaluation_reads_one_variant(two: Store) -> None:
    tokens = TrainedTokenizerConfig(algorithm="word", size=64)
    text = build_tokenizer(tokens, two.get_records("train"), None)
    batch = build_eval_batches(two, "train", text, 4096)[0]
    for clip_id, x_TD in zip(batch.clip_ids, batch.streams["video"], strict=True):
        first = read(two)[clip_id]
        np.testing.assert_array_equal(x_TD[: len(first)], first)


def test_a_part_of_several_features_has_epochs(model: Path, tmp_path: Path) -> None:
    corpus = films_with_poses(tmp_path / "corpus", train=3, validation=1)
    small_films(corpus, train=3, validation=1)
    varied = video_part("varied", model, augmentation=AUGMENTATION, epochs=2)
    other = video_part("other", model, augmentation={**AUGMENTATION, "seed": 1}, epochs=3)
    recipe = parts_recipe(corpus, tmp_path / "stores", [POSE, varied, other])
    store = extract_locally(recipe)
    first, *_ = store.get_records("train")
    assert len(first.all_lengths) == 6
    seen = [store.get_features(first.at_epoch(epoch)) for epoch in range(6)]
    for epoch in range(6):
        for name, period in (("pose", 1), ("varied", 2), ("other", 3)):
            np.testing.assert_array_equal(seen[epoch][name], seen[epoch % period][name])
    assert not np.array_equal(seen[0]["varied"], seen[1]["varied"])
    assert not np.array_equal(seen[1]["other"], seen[2]["other"])
    assert [len(r.all_lengths) for r in store.get_records("validation")] == [1]
    verify_store(store)


def test_several_epochs_need_augmentation(corpus: Path, model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="all epochs would be equal"):
        make(corpus, model, tmp_path, features={"augmentation": None})
    plain = film_recipe(corpus, model, tmp_path)
    assert list_epoch_recipes(plain) == ()


def test_the_limits_count_every_variant(two: Store) -> None:
    records = two.get_records("train")
    assert [record.lengths for record in records] == [r.epoch_lengths[0] for r in records]
    with pytest.raises(InputError, match="no clip of the train split"):
        batches_of(two, BatchConfig(batch_size=1, min_clip_frames=100), range(1))
