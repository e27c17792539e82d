"""Corpora of precomputed features with every fault at once: manifests of `.pt` files, HDF5 shards.

A fault is one line of a table here, as in `faults`.
"""

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from faults import NUM_GOOD_CLIPS, FaultyCorpus, faulty_recipe
from shards import change, h5_corpus


def _archive(x: Any) -> bytes:
    file = io.BytesIO()
    torch.save(x, file)
    return file.getvalue()


def _flipped(content: bytes) -> bytes:
    """One bit of a number is another; the checksum of the archive is not."""
    place = content.index(torch.ones(4).numpy().tobytes())
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def _with(x_TD: torch.Tensor, value: float) -> torch.Tensor:
    return torch.cat([x_TD[:-1], torch.full((1, x_TD.shape[1]), value)])


GOOD = torch.ones(3, 4)
Content = bytes | None
MANIFEST_FAULTS: list[tuple[str, Content, str]] = [
    ("missing", None, "missing_file"),
    ("empty", b"", "unreadable"),
    ("words", b"no tensor at all", "unreadable"),
    ("cut", _archive(GOOD)[:-200], "unreadable"),
    ("flipped", _flipped(_archive(GOOD)), "unreadable"),
    ("dictionary", _archive({"features": GOOD}), "unreadable"),
    ("sparse", _archive(GOOD.to_sparse()), "unreadable"),
    ("pickled", pickle.dumps([1.0, 2.0]), "unreadable"),
    ("batch", _archive(GOOD[None]), "wrong_shape"),
    ("vector", _archive(GOOD[0]), "wrong_shape"),
    ("no_frames", _archive(GOOD[:0]), "wrong_shape"),
    ("no_values", _archive(GOOD[:, :0]), "wrong_shape"),
    ("whole_numbers", _archive(GOOD.long()), "wrong_shape"),
    ("shorter", _archive(GOOD[:2]), "wrong_length"),
    ("longer", _archive(torch.ones(4, 4)), "wrong_length"),
    ("nan", _archive(_with(GOOD, float("nan"))), "nan_features"),
    ("infinite", _archive(_with(GOOD, float("inf"))), "nan_features"),
    ("overflow", _archive(_with(GOOD, 1e5)), "overflow"),
    ("narrower", _archive(torch.ones(3, 5)), "wrong_width"),
]
MALFORMED_ROWS = [b"a\t3,5\tText", b"b\t-1\tText", b"c\t3\tGr\xfc\xdfe", b"d\t3", b"\t3\tText"]


def _put(folder: Path, name: str, content: Content, epoch: int = 0) -> None:
    path = folder / f"features/{epoch}/{name[:5]}/{name}.pt"
    if content is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def faulty_manifest_corpus(folder: Path, malformed: bool = False, **changes: Any) -> FaultyCorpus:
    """A `feature_manifest` corpus of two epochs of train; the second has a fault of its own."""
    names = [f"good{number}" for number in range(NUM_GOOD_CLIPS)]
    rows = ["video_name\tlength\tlabel", *(f"{name}\t3\tText." for name in names)]
    for name in names:
        for epoch in (0, 1):
            _put(folder, name, _archive(torch.randn(3, 4)), epoch)
    expected: dict[str, str] = {}
    for name, content, reason in MANIFEST_FAULTS:
        _put(folder, name, content)
        _put(folder, name, _archive(GOOD), 1)
        rows.append(f"{name}\t3\tText.")
        expected[name] = reason
    (folder / "features/0/folde/folder.pt").mkdir(parents=True)
    _put(folder, "folder", _archive(GOOD), 1)
    rows += ["folder\t3\tText.", "../../../x\t3\tText.", "good0.mp4\t3\t", "epoch\t\tText."]
    _put(folder, "epoch", _archive(GOOD))
    expected |= {"folder": "not_a_file", "epoch@1": "missing_file", "good0.mp4": "empty_text"}
    expected |= {"../../../x": "outside_root", "../../../x@1": "outside_root"}
    (folder / "manifests").mkdir()
    plain = {split: str(folder / f"manifests/{split}.tsv") for split in ("train", "validation")}
    lines = [*(row.encode() for row in rows), *(MALFORMED_ROWS if malformed else [])]
    Path(plain["train"]).write_bytes(b"\n".join(lines) + b"\n")
    Path(plain["validation"]).write_text("valid\t3\tText.\n")
    _put(folder, "valid", _archive(GOOD))
    source = {"kind": "feature_manifest", "epochs": [0, 1], **plain}
    recipe = faulty_recipe(folder, source, features={"kind": "precomputed"}, **changes)
    first = len(rows) + 1
    return FaultyCorpus(
        recipe,
        expected,
        tuple(f"train.tsv:{first + number}" for number in range(len(MALFORMED_ROWS) * malformed)),
    )


def _values(x: Any) -> Callable[[h5py.Group, str], None]:
    def write(group: h5py.Group, clip: str) -> None:
        group[clip] = x

    return write


def _never_written(group: h5py.Group, clip: str) -> None:
    group.create_dataset(clip, (8, 12), np.float16)


def _half_written(group: h5py.Group, clip: str) -> None:
    group.create_dataset(clip, (8, 12), np.float16, chunks=(4, 12))[:4] = 1


def _compressed_badly(group: h5py.Group, clip: str) -> None:
    data = group.create_dataset(clip, (8, 12), np.float16, chunks=(8, 12), compression="gzip")
    data.id.write_direct_chunk((0, 0), b"no zlib stream")


_GOOD = np.ones((8, 12), np.float16)
SHARD_FAULTS: list[tuple[str, Callable[[h5py.Group, str], None], str]] = [
    ("missing", lambda group, clip: None, "missing_features"),
    ("never_written", _never_written, "incomplete"),
    ("half_written", _half_written, "incomplete"),
    ("damaged", _compressed_badly, "unreadable"),
    ("link", _values(h5py.ExternalLink("other.h5", "/secret")), "unreadable"),
    ("group", lambda group, clip: group.create_group(clip), "wrong_shape"),
    ("no_frames", _values(_GOOD[:0]), "wrong_shape"),
    ("vector", _values(_GOOD[0]), "wrong_shape"),
    ("batch", _values(_GOOD[None]), "wrong_shape"),
    ("whole_numbers", _values(np.ones((8, 12), np.int16)), "wrong_dtype"),
    ("words", _values("text"), "wrong_dtype"),
    ("nan", _values(np.full((8, 12), np.nan)), "nan_features"),
    ("infinite", _values(np.full((8, 12), np.inf, np.float32)), "nan_features"),
    ("overflow", _values(np.full((8, 12), 1e5, np.float32)), "overflow"),
    ("narrower", _values(_GOOD[:, :11]), "wrong_width"),
]


def faulty_shard_corpus(folder: Path, malformed: bool = False, **changes: Any) -> FaultyCorpus:
    """An `h5_shards` corpus: faults of data sets in one stream, of shards and of annotations."""
    counts = {"train": 9, "dev": 2}
    source = h5_corpus(folder, documents=counts, clips=2, shards=9)
    annotation, names = folder / "annotation.train.json", [name for name, *_ in SHARD_FAULTS]
    expected = {f"train_video8/{name}": reason for name, _, reason in SHARD_FAULTS}

    def annotate(videos: Any) -> None:
        text = {"translation": "A text.", "paraphrases": [], "keywords": []}
        videos["train_video8"] = {"clip_order": names, **dict.fromkeys(names, text)}
        videos["train_video0"]["clip_00"]["translation"] = "  "

    change(annotation, annotate)
    for stream, width in (("pose", 8), ("dino", 12), ("sign2vec", 6)):
        with h5py.File(folder / stream / f"{stream}.train.8.h5", "a") as file:
            del file["train_video8"]
            group = file.create_group("train_video8")
            for name, write, _ in SHARD_FAULTS:
                if stream == "dino":
                    write(group, name)
                else:
                    group[name] = np.ones((8, width), np.float16)
    expected |= {"train_video0/clip_00": "empty_text"}
    expected |= _spoil_shards(folder)
    if malformed:
        change(annotation, lambda videos: videos["train_video7"].update(clip_order=["clip_00"]))
        change(folder / "dino/metadata_dino.dev.json", lambda shards: shards.update(more="a/b"))
    recipe = faulty_recipe(folder, source, features={"kind": "streams"}, **changes)
    where = ("annotation.train.json:train_video7/clip_01", "dino/metadata_dino.dev.json:more")
    where = (*where, "annotation.train.json:train_video7/clip_02")
    return FaultyCorpus(recipe, expected, where if malformed else ())


def _spoil_shards(folder: Path) -> dict[str, str]:
    """Spoils whole shards of one stream each; their clips and reasons."""
    (folder / "sign2vec/sign2vec.train.1.h5").unlink()
    (folder / "sign2vec/sign2vec.train.2.h5").write_bytes(b"no HDF5 at all")
    cut = folder / "pose/pose.train.3.h5"
    cut.write_bytes(cut.read_bytes()[:-300])
    (folder / "pose/pose.train.4.h5").write_bytes(b"")
    # The metadata names another shard than the one that holds the video, and none.
    change(folder / "pose/metadata_pose.train.json", lambda shards: shards.update(train_video5=6))
    change(folder / "dino/metadata_dino.train.json", lambda shards: shards.pop("train_video6") * 0)
    reasons = ("missing_file", "unreadable", "unreadable", "unreadable")
    reasons += ("missing_features", "missing_features")
    return {
        f"train_video{video}/clip_{clip:02d}": reason
        for video, reason in enumerate(reasons, 1)
        for clip in range(2 + video % 2)
    }
