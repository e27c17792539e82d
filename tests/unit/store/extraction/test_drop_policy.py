"""Clips that cannot be used are counted with reason and row, and too many are an error."""

from dataclasses import replace

import numpy as np
import pytest
from fake_corpus import FakeStep, change, extraction, make_corpus, write_media

from kinesweep.core.clip import InvalidRow
from kinesweep.core.errors import ClipError, StoreError
from kinesweep.store.extraction.build import build_store
from kinesweep.store.format.dtype import round_to_store_dtype
from kinesweep.store.format.reader import ExtractionCounts


def test_dropped_clips_stand_in_the_manifest_in_order(tmp_path):
    source = make_corpus(tmp_path, train=6)
    source = replace(source, bad_rows=(InvalidRow("train.tsv:9", "e", "empty_text", "no text"),))
    source = change(source, "train-4", media="media/none.txt")
    write_media(tmp_path, "train-1", "broken")
    store = build_store(extraction(source, tmp_path / "stores", max_dropped_share=0.5))
    assert store.extraction == ExtractionCounts(computed=4, reused=0, dropped=3)
    dropped = store.manifest["dropped"]
    assert dropped["reasons"] == {"broken": 1, "empty_text": 1, "missing_file": 1}
    assert [(row["row"], row["clip_id"], row["reason"]) for row in dropped["rows"]] == [
        ("train.tsv:9", "e", "empty_text"),
        ("train.tsv:6", "train-4", "missing_file"),
        ("train.tsv:3", "train-1", "broken"),
    ]
    assert dropped["rows"][2]["message"] == "`media/train-1.txt` is broken"
    kept = [record.clip.id for record in store.get_records("train")]
    assert kept == ["train-0", "train-2", "train-3", "train-5"]
    second = store.get_features(store.get_records("train")[1])["pose"]
    expected = (
        FakeStep().compute_features(source.read(source.listed[2]))["pose"].x_TD.astype(np.float16)
    )
    np.testing.assert_array_equal(second, expected)


def test_too_many_dropped_clips_are_an_error_with_counts_and_rows(tmp_path):
    source = make_corpus(tmp_path, train=20)
    for number in range(7):
        write_media(tmp_path, f"train-{number}", "broken")
    with pytest.raises(StoreError) as raised:
        build_store(extraction(source, tmp_path / "stores"))
    assert str(raised.value) == (
        "7 of 20 clips (35.0%) cannot be used; at most `store.max_dropped_share` (0.01) may be"
        " left out\n"
        "  broken  7\n"
        "  train.tsv:2: broken: `media/train-0.txt` is broken\n"
        "  train.tsv:3: broken: `media/train-1.txt` is broken\n"
        "  train.tsv:4: broken: `media/train-2.txt` is broken\n"
        "  train.tsv:5: broken: `media/train-3.txt` is broken\n"
        "  train.tsv:6: broken: `media/train-4.txt` is broken\n"
        "  and 2 more\n"
        "Fix the rows (`kinesweep check` lists all), or allow more with"
        " store.max_dropped_share=0.35."
    )
    assert [path.name for path in (tmp_path / "stores").iterdir()] == [".lock"]
    build_store(extraction(source, tmp_path / "stores", max_dropped_share=0.35))


def test_the_limit_itself_is_allowed(tmp_path):
    source = make_corpus(tmp_path, train=10)
    write_media(tmp_path, "train-3", "broken")
    store = build_store(extraction(source, tmp_path / "stores", max_dropped_share=0.1))
    assert store.manifest["dropped"]["total"] == 1


def test_rows_known_to_be_bad_fail_before_anything_is_computed(tmp_path):
    source = change(make_corpus(tmp_path, train=3), "train-1", media="media/none.txt")

    def fail(*_):
        raise AssertionError("computed")

    with pytest.raises(StoreError, match=r"missing_file  1\n  train\.tsv:3: missing_file"):
        build_store(extraction(source, tmp_path / "stores"), fail)


def test_an_existing_store_is_held_to_the_limit_of_today(tmp_path):
    source = make_corpus(tmp_path, train=3)
    write_media(tmp_path, "train-1", "broken")
    build_store(extraction(source, tmp_path / "stores", max_dropped_share=0.5))
    with pytest.raises(StoreError, match="1 of 3 clips"):
        build_store(extraction(source, tmp_path / "stores", max_dropped_share=0.1))


def test_validation_is_complete_or_nothing_is_written(tmp_path):
    source = make_corpus(tmp_path, train=30, validation=8)
    for number in range(6):
        write_media(tmp_path, f"validation-{number}", "broken")
    most = {"max_dropped_share": 1.0, "required_splits": ("validation",)}
    with pytest.raises(StoreError) as raised:
        build_store(extraction(source, tmp_path / "stores", **most))
    assert str(raised.value) == (
        "unusable clips: 6 of validation; `store.required_splits` (validation) does not allow these"
        " splits to lose any\n"
        "  broken  6\n"
        "  validation.tsv:2: broken: `media/validation-0.txt` is broken\n"
        "  validation.tsv:3: broken: `media/validation-1.txt` is broken\n"
        "  validation.tsv:4: broken: `media/validation-2.txt` is broken\n"
        "  validation.tsv:5: broken: `media/validation-3.txt` is broken\n"
        "  validation.tsv:6: broken: `media/validation-4.txt` is broken\n"
        "  and 1 more\n"
        "Fix the files (`kinesweep check` lists all), remove the rows from the table, or score"
        " fewer clips with store.required_splits=[]."
    )
    assert [path.name for path in (tmp_path / "stores").iterdir()] == [".lock"]
    build_store(extraction(source, tmp_path / "stores", **{**most, "required_splits": ()}))
    with pytest.raises(StoreError, match="6 of validation"):  # the store that is there now, too
        build_store(extraction(source, tmp_path / "stores", **most))


def test_a_missing_file_of_validation_is_told_before_anything_is_computed(tmp_path):
    source = make_corpus(tmp_path, train=3, validation=3)
    source = change(source, "validation-1", media="media/none.txt")

    def fail(*_):
        raise AssertionError("computed")

    whole = {"max_dropped_share": 1.0, "required_splits": ("validation",)}
    with pytest.raises(StoreError, match=r"1 of validation.*\n.*\n  validation\.tsv:3: missing_f"):
        build_store(extraction(source, tmp_path / "stores", **whole), fail)


def test_other_splits_and_rows_without_text_count_for_the_share_alone(tmp_path):
    source = make_corpus(tmp_path, train=3, validation=2, test=2)
    row = InvalidRow("validation.tsv:9", "e", "empty_text", "no text")
    source = replace(source, bad_rows=(row,))
    write_media(tmp_path, "test-0", "broken")
    wide = {"max_dropped_share": 0.5}
    store = build_store(extraction(source, tmp_path / "stores", **wide))
    assert store.manifest["dropped"]["reasons"] == {"broken": 1, "empty_text": 1}
    with pytest.raises(
        StoreError, match=r"1 of test; `store\.required_splits` \(test, validation\)"
    ):
        both = ("test", "validation")
        build_store(extraction(source, tmp_path / "stores", required_splits=both, **wide))


def test_a_split_without_a_clip_is_an_error(tmp_path):
    source = make_corpus(tmp_path, train=3, test=1)
    write_media(tmp_path, "test-0", "broken")
    with pytest.raises(StoreError, match=r"no usable clip in split test; rows left out:\n  broken"):
        build_store(extraction(source, tmp_path / "stores", max_dropped_share=1))


def test_media_outside_of_the_corpus_is_never_read(tmp_path):
    source = change(make_corpus(tmp_path / "corpus", train=3), "train-1", media="../secret.txt")
    (tmp_path / "secret.txt").write_text("3 frames of 1")
    with pytest.raises(StoreError, match="outside_root"):
        build_store(extraction(source, tmp_path / "stores"))


def test_values_beyond_float16_are_dropped_and_never_infinite(tmp_path):
    source = make_corpus(tmp_path, train=3)
    write_media(tmp_path, "train-2", "3 frames of 70000")
    wide = {"max_dropped_share": 0.5}
    store = build_store(extraction(source, tmp_path / "stores", **wide))
    assert store.manifest["dropped"]["reasons"] == {"overflow": 1}
    exact = build_store(extraction(source, tmp_path / "stores", dtype="float32", **wide))
    assert exact.manifest["dropped"]["total"] == 0


def test_a_clip_of_anwrong_width_is_dropped_and_names_one_that_is_right(tmp_path):
    class Ragged(FakeStep):
        def compute_features(self, pose):
            found = super().compute_features(pose)
            x_TD = found["pose"].x_TD
            return {"pose": replace(found["pose"], x_TD=x_TD[:, : 6 if len(x_TD) == 2 else 3])}

    source = make_corpus(tmp_path, train=2)
    with pytest.raises(
        StoreError, match=r"1 of 2 clips.*\n  wrong_width  1\n  train\.tsv:3: wrong_"
    ):
        build_store(extraction(source, tmp_path / "stores", step=Ragged()))
    wide = {"max_dropped_share": 0.5}
    store = build_store(extraction(source, tmp_path / "stores", step=Ragged(), **wide))
    (row,) = store.manifest["dropped"]["rows"]
    assert (row["row"], row["reason"], row["split"]) == ("train.tsv:3", "wrong_width", "train")
    assert "3 values per frame, but most clips have 6, for example `train-0`" in row["message"]
    assert [record.clip.id for record in store.get_records("train")] == ["train-0"]
    assert store.extraction == ExtractionCounts(computed=1, reused=0, dropped=1)


def test_most_clips_decide_which_points_are_right(tmp_path):
    source = make_corpus(tmp_path, train=5)
    write_media(tmp_path, "train-0", "hand 4 frames of 1.0")
    store = build_store(extraction(source, tmp_path / "stores", max_dropped_share=0.2))
    (row,) = store.manifest["dropped"]["rows"]
    assert (row["clip_id"], row["reason"]) == ("train-0", "wrong_layout")
    assert "HAND thumb instead of BODY left" in row["message"]
    # The features of the dropped clip are in the shard, but the others are found beside them.
    for record in store.get_records("train"):
        wanted = FakeStep().compute_features(source.read(record.clip))["pose"].x_TD
        np.testing.assert_array_equal(store.get_features(record)["pose"], wanted.astype(np.float16))


@pytest.mark.parametrize(
    ("values", "dtype", "reason"),
    [
        ([[1.0, np.nan]], "float16", "nan_features"),
        ([[1.0, np.inf]], "float32", "nan_features"),
        ([[65520.0]], "float16", "overflow"),
        (np.zeros((0, 3)), "float16", "no_frames"),
        (np.zeros(3), "float16", "no_frames"),
    ],
)
def test_what_cannot_be_stored(values, dtype, reason):
    with pytest.raises(ClipError) as raised:
        round_to_store_dtype(np.asarray(values, dtype=np.float32), dtype)
    assert raised.value.reason == reason


def test_rounding_is_to_the_nearest():
    x_TD = np.array([[65519.0, 1 / 3, -1e-9]], dtype=np.float32)
    assert round_to_store_dtype(x_TD, "float16").tolist() == [
        [65504.0, float(np.float16(1 / 3)), 0.0]
    ]
    assert round_to_store_dtype(x_TD.T, "float32").flags.c_contiguous
