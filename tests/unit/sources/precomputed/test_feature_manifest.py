"""Manifests of features: with and without a header, several epochs; what is wrong is named."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kinesweep.config.loading import validate_config
from kinesweep.config.recipe.source import FeatureManifestConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError, ConfigError, SourceError
from kinesweep.core.units import Span
from kinesweep.sources import build_source
from kinesweep.sources.precomputed.feature_manifest import FeatureManifestSource

HEADER = "video_name\tlength\tlabel\n"


def source_of(folder: Path, settings: dict[str, Any] | None = None, **tables: str) -> Any:
    """A corpus whose manifests have these lines."""
    (folder / "manifests").mkdir(exist_ok=True)
    paths = {split: folder / "manifests" / f"{split}_features.tsv" for split in tables}
    for split, lines in tables.items():
        paths[split].write_text(lines, encoding="utf-8")
    plain = {split: str(path) for split, path in paths.items()}
    plain = {"kind": "feature_manifest", **plain, **(settings or {})}
    return build_source(validate_config(FeatureManifestConfig, plain, "test"))


def numbers(length: int, width: int = 4) -> torch.Tensor:
    """(L, D), every number another."""
    return torch.arange(1, 1 + length * width, dtype=torch.float32).reshape(length, width)


def write(folder: Path, name: str, content: Any, epoch: int = 0) -> Path:
    """Writes a clip's file: a tensor, bytes as they are, or anything that pickles."""
    path = folder / "features" / str(epoch) / name[:5] / f"{name}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    return path


@pytest.mark.parametrize("header", [HEADER, "", "\ufeff" + HEADER])
def test_a_manifest_is_read_with_and_without_its_header(tmp_path: Path, header: str) -> None:
    source = source_of(tmp_path, train=f'{header}-abcdef01\t3\t He said "no" \nxy\t2\tBye.\r\n')
    assert isinstance(source, FeatureManifestSource)
    line = 2 if header else 1
    assert source.list_clips("train") == [
        Clip(
            id="-abcdef01",
            split="train",
            media="0/-abcd/-abcdef01.pt",
            span=Span.from_frames(0, 3),
            texts=('He said "no"',),
            row=f"train_features.tsv:{line}",
        ),
        Clip(
            id="xy",
            split="train",
            media="0/xy/xy.pt",
            span=Span.from_frames(0, 2),
            texts=("Bye.",),
            row=f"train_features.tsv:{line + 1}",
        ),
    ]


def test_features_come_back_as_float32(tmp_path: Path) -> None:
    write(tmp_path, "single", numbers(3))
    write(tmp_path, "double", numbers(3).double().requires_grad_())
    write(tmp_path, "half", numbers(3).bfloat16())
    write(tmp_path, "across", numbers(4, 3).T)
    source = source_of(
        tmp_path,
        {"fps": 9.5},
        train="video_name\tlabel\n"
        + "".join(f"{name}\tHi.\n" for name in ("single", "double", "half", "across")),
    )
    assert source.get_read_options() == {"source": "feature_manifest", "rate_hz": 9.5}
    for clip in source.list_clips("train"):
        found = source.read(clip)
        expected = numbers(4, 3).T if clip.id == "across" else numbers(3)
        np.testing.assert_array_equal(found.x_TD, expected)
        assert (found.x_TD.dtype, found.rate_hz) == (np.float32, 9.5)
        assert found.x_TD.flags.c_contiguous


def test_the_order_of_named_columns_is_free(tmp_path: Path) -> None:
    source = source_of(tmp_path, train="video_name\tlabel\tlength\nx\tHi.\t\ny\tHo.\t7\n")
    spans = [(clip.texts[0], clip.span.end) for clip in source.list_clips("train")]
    assert spans == [("Hi.", None), ("Ho.", 7)]


def test_train_has_its_epochs_and_the_others_the_first_alone(tmp_path: Path) -> None:
    tables = {"train": "one\t3\tOne.\ntwo\t2\tTwo.\n", "validation": "v\t1\tV.\n"}
    source = source_of(tmp_path, {"epochs": [2, 0]}, **tables, test="t\t1\tT.\n")
    named = {
        split: [(c.id, c.media) for c in source.list_clips(split)] for split in source.list_splits()
    }
    assert named == {
        "train": [
            ("one", "2/one/one.pt"),
            ("one@0", "0/one/one.pt"),
            ("two", "2/two/two.pt"),
            ("two@0", "0/two/two.pt"),
        ],
        "validation": [("v", "2/v/v.pt")],
        "test": [("t", "2/t/t.pt")],
    }
    clips = source.list_clips("train")
    assert [clip.texts for clip in clips] == [("One.",), ("One.",), ("Two.",), ("Two.",)]
    write(tmp_path, "one", numbers(3), epoch=2)
    write(tmp_path, "one", numbers(5) + 1, epoch=0)  # a varied copy may have another length
    assert len(source.read(clips[0]).x_TD) == 3
    np.testing.assert_array_equal(source.read(clips[1]).x_TD, numbers(5) + 1)


def test_only_the_first_clips(tmp_path: Path) -> None:
    lines = "a\t1\tA.\nb\t1\t\nc\t1\tC.\nd\t1\t\n"
    source = source_of(tmp_path, {"max_clips": 2}, train=lines + "e\t1\tE.\n")
    assert [clip.id for clip in source.list_clips("train")] == ["a", "c"]
    assert [problem.clip_id for problem in source.list_invalid_rows()] == ["b"]


def test_faults_of_all_manifests_at_once(tmp_path: Path) -> None:
    source = source_of(
        tmp_path,
        train=HEADER + "a\t1\tA.\nb\t1\nc\t2.5\tC.\nd\t0\tD.\n\t3\tE.\na\t1\tAgain.\n",
        test="a\t1\tA.\nz\t1\tZ.\textra\n",
    )
    with pytest.raises(SourceError) as caught:
        source.list_clips("train")
    assert [" ".join(line.split()) for line in str(caught.value).splitlines()] == [
        "7 problems in the tables of the corpus",
        "train_features.tsv:3 has 2 fields, not 3",
        "train_features.tsv:4 `length` must be a whole number of 1 or more, but is `2.5`",
        "train_features.tsv:5 `length` must be a whole number of 1 or more, but is `0`",
        "train_features.tsv:6 `video_name` is empty; it must name the feature file",
        "test_features.tsv:2 has 4 fields, not 3",
        "train_features.tsv:7 id `a` is already used by train_features.tsv:2; use each"
        " `video_name` only once in a corpus",
        "test_features.tsv:1 id `a` is already used by train_features.tsv:2; use each"
        " `video_name` only once in a corpus",
    ]


def test_a_name_twice_is_one_fault_whatever_the_epochs(tmp_path: Path) -> None:
    source = source_of(tmp_path, {"epochs": [0, 1, 2]}, train="a\t1\tA.\na\t1\tB.\n")
    with pytest.raises(SourceError, match=r"^1 problem in"):
        source.list_clips("train")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("video_name\tlenght\tlabel", "`lenght` is unknown; did you mean `length`?"),
        ("video_name\tduration\tcaption", "`caption` is unknown; a manifest has video_name, l"),
        ("video_name\tlength", "there is no column `label`"),
        ("video_name\tlabel\tlabel", "column `label` appears twice"),
    ],
)
def test_columns_that_are_not_those_of_a_manifest(tmp_path: Path, header: str, said: str) -> None:
    row = "\t".join(["x"] * len(header.split("\t")))
    source = source_of(tmp_path, train=f"{header}\n{row}\n")
    with pytest.raises(SourceError, match=said.replace("?", r"\?")):
        source.list_clips("train")


class Code:
    """Writes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (self.path, "w")


def archive(tensor: torch.Tensor) -> bytes:
    file = io.BytesIO()
    torch.save(tensor, file)
    return file.getvalue()


def flipped(content: bytes) -> bytes:
    """With one bit of the third number turned."""
    place = content.index(numbers(3).numpy().tobytes()) + 8
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    ("content", "reason", "said"),
    [
        (None, "missing_file", "does not exist"),
        (b"", "unreadable", "cannot be read as a tensor"),
        (b"no tensor at all", "unreadable", "cannot be read as a tensor"),
        (archive(numbers(3))[:-200], "unreadable", "cannot be read as a tensor"),
        (flipped(archive(numbers(3))), "unreadable", "the checksum of `archive/data/0` in it"),
        ({"features": numbers(3)}, "unreadable", "holds a dict"),
        (numbers(3).to_sparse(), "unreadable", "not a dense tensor"),
        (numbers(3)[None], "wrong_shape", r"holds \(1, 3, 4\)"),
        (numbers(0), "wrong_shape", r"holds \(0, 4\)"),
        (numbers(3).long(), "wrong_shape", "of torch.int64"),
        (numbers(2), "wrong_length", "holds 2 features, but its manifest says 3"),
        (numbers(4), "wrong_length", "holds 4 features, but its manifest says 3"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, content: Any, reason: str, said: str
) -> None:
    write(tmp_path, "good", numbers(2))
    if content is not None:
        write(tmp_path, "bad-one", content)
    source = source_of(tmp_path, train="good\t2\tHi.\nbad-one\t3\tHo.\n")
    clip = source.list_clips("train")[1]
    with pytest.raises(ClipError, match=said) as caught:
        source.read(clip)
    assert caught.value.reason == reason
    assert str(caught.value).startswith("train_features.tsv:2: `")
    assert "features/0/bad-o/bad-one.pt" in str(caught.value)
    (problem,) = source.check_clips()
    found = (problem.row, problem.clip_id, problem.reason, problem.split)
    assert found == ("train_features.tsv:2", "bad-one", reason, "train")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    write(tmp_path, "evil", Code(str(ran)))
    write(tmp_path, "worse", pickle.dumps(Code(str(ran))))
    source = source_of(tmp_path, train="evil\t3\tHi.\nworse\t3\tHi.\n")
    assert [problem.reason for problem in source.check_clips()] == ["unreadable", "unreadable"]
    assert not ran.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_damaged_bytes_are_this_clip_s_error_and_no_other_kind(tmp_path: Path) -> None:
    source = source_of(tmp_path, train="x\t3\tHi.\n")
    (clip,) = source.list_clips("train")
    file = io.BytesIO()
    torch.save(numbers(3), file, _use_new_zipfile_serialization=False)
    rng = np.random.default_rng(0)
    for whole in (archive(numbers(3)), file.getvalue()):
        for _ in range(100):
            content = bytearray(whole[: rng.integers(1, len(whole) + 1)])
            content[rng.integers(len(content))] ^= int(rng.integers(1, 256))
            write(tmp_path, "x", bytes(content))
            try:
                source.read(clip)
            except ClipError as error:
                assert error.reason in {"unreadable", "wrong_shape", "wrong_length"}


@pytest.mark.parametrize(
    ("name", "reason"), [("../../../x", "outside_root"), ("x" * 300, "missing_file")]
)
def test_names_that_leave_the_folder_or_cannot_be(tmp_path: Path, name: str, reason: str) -> None:
    source = source_of(tmp_path, train=f"{name}\t3\tHi.\n")
    with pytest.raises(ClipError) as caught:
        source.resolve_media_path(source.list_clips("train")[0])
    assert caught.value.reason == reason


def test_features_may_lie_elsewhere(tmp_path: Path) -> None:
    path = write(tmp_path / "other", "x", numbers(3))
    features = {"features": str(tmp_path / "other" / "features")}
    source = source_of(tmp_path, features, train="x\t3\tHi.\n")
    assert source.resolve_media_path(source.list_clips("train")[0]) == path


def test_an_epoch_twice_or_below_zero(tmp_path: Path) -> None:
    for epochs in ([0, 1, 0], [-1], []):
        with pytest.raises(ConfigError, match="epochs"):
            source_of(tmp_path, {"epochs": epochs}, train="x\t3\tHi.\n")


def test_a_pickle_carries_no_rows(tmp_path: Path) -> None:
    source = source_of(tmp_path, train="".join(f"{number}\t3\tHi.\n" for number in range(500)))
    before = len(pickle.dumps(source))
    assert len(source.list_clips("train")) == 500
    assert len(pickle.dumps(source)) == before
