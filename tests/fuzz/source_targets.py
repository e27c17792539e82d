"""Corpora that are fuzzed: poses, videos, skeletons, shards, features, pickles."""

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from corpus import tiny_corpus
from fuzz.target import Target
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe.source import SourceConfig
from kinesweep.core.errors import ClipError
from kinesweep.core.video_files import VideoSegment
from kinesweep.sources import build_source
from kinesweep.sources.prepare import prepare_corpus
from kinesweep.sources.video.video_reader import VideoError, VideoReader


class _Source(BaseModel):
    """The part of a recipe that readers need."""

    source: SourceConfig


def check_source(**source: Any) -> list[str]:
    """Lists, checks and reads all clips, as `check` and `extract` do; what is wrong in them."""
    reader = build_source(validate_config(_Source, {"source": source}, "fuzz").source)
    wrong = [row.message for row in reader.check_clips()]
    for split in reader.list_splits():
        clips = reader.list_clips(split)
        reader.compute_digests(clips)
        for clip in clips:
            try:
                media = reader.read(clip)
                if isinstance(media, VideoSegment):
                    for _ in VideoReader(media.path, media.fps):
                        pass
            except (ClipError, VideoError) as error:
                wrong.append(str(error))
    return wrong


def make_poses(folder: Path) -> None:
    corpus = tiny_corpus(folder, 12)
    paths = sorted(corpus.rglob("*.pose"))[:2]
    for number, path in enumerate(paths):
        path.rename(folder / f"{number}.pose")
    shutil.rmtree(corpus)
    rows = ["0.pose\t0\t0\tOne.", '1.pose\t0\t400\t"Two ""2""."']
    table = "\n".join(["signal\tsignal_start\tsignal_end\toutput", *rows, ""])
    (folder / "train.tsv").write_text(table)
    (folder / "validation.tsv").write_text(table.replace("0.pose\t0\t0\tOne.\n", ""))


def read_poses(folder: Path) -> list[str]:
    tables = {split: str(folder / f"{split}.tsv") for split in ("train", "validation")}
    return check_source(kind="pose_tsv", root=str(folder), **tables)


def prepare_generic(folder: Path) -> None:
    prepare_corpus("generic", folder, folder, folder / "out", overwrite=True)


def make_video(folder: Path) -> None:
    from films import write_video

    for name in ("0.mp4", "1.mkv"):
        write_video(folder / name, 6)
    (folder / "train.tsv").write_text("signal\toutput\n0.mp4\tOne.\n1.mkv\tTwo.\n")


def read_video(folder: Path) -> list[str]:
    return check_source(kind="video_tsv", root=str(folder), train=str(folder / "train.tsv"))


def make_skeletons(folder: Path) -> None:
    from skeletons import HEADER, motions, write_pack, write_rows

    write_pack(folder / "all.npz", motions(8))
    write_rows(folder / "train.tsv", HEADER, [f"t{n} {n} Lift. - - 0" for n in range(6)])
    write_rows(folder / "validation.tsv", HEADER, ["v0 6 Turn. - - 0", "v1 7 Go. - - 1"])


def read_skeletons(folder: Path) -> list[str]:
    tables = {split: str(folder / f"{split}.tsv") for split in ("train", "validation")}
    return check_source(kind="skeletons", fps=20, motions=str(folder / "all.npz"), **tables)


def make_motions(folder: Path) -> None:
    from skeletons import motions

    for number, motion in enumerate(motions(2)):
        np.save(folder / f"{number}.npy", motion)
    np.savez(folder / "2.npz", motions(3)[2])
    rows = ["0.npy\tLift.", "1.npy\tUp.", "2.npz\tGo."]
    (folder / "train.tsv").write_text("\n".join(["motion\toutput", *rows, ""]))


def read_motions(folder: Path) -> list[str]:
    tables = {"train": str(folder / "train.tsv")}
    return check_source(kind="skeletons", fps=20, motions=str(folder), **tables)


def make_shards(folder: Path) -> None:
    from shards import h5_corpus

    h5_corpus(folder, widths={"pose": 8}, documents={"train": 2}, clips=2, shards=1)


def read_shards(folder: Path) -> list[str]:
    train = str(folder / "annotation.train.json")
    return check_source(kind="h5_shards", train=train, streams=[{"name": "pose", "fps": 25}])


def make_features(folder: Path) -> None:
    import torch

    (folder / "manifests").mkdir()
    rows = ["video_name\tlength\tlabel", "clip_a\t4\tOne.", "clip_b\t4\tTwo."]
    (folder / "manifests/train_features.tsv").write_text("\n".join([*rows, ""]))
    for name in ("clip_a", "clip_b"):
        path = folder / "features/0" / name[:5] / f"{name}.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(torch.arange(32.0).reshape(4, 8), path)


def read_features(folder: Path) -> list[str]:
    train = str(folder / "manifests/train_features.tsv")
    return check_source(kind="feature_manifest", train=train)


def make_arrays(folder: Path) -> None:
    import torch

    np.save(folder / "0.npy", np.arange(32.0).reshape(4, 8))
    np.savez(folder / "1.npz", np.arange(24.0, dtype=np.float32).reshape(3, 8))
    torch.save(torch.arange(32.0).reshape(4, 8), folder / "2.pt")
    rows = ["0.npy\t0\t0\tOne.", "1.npz\t0\t80\tTwo.", "2.pt\t40\t0\tThree."]
    header = "signal\tsignal_start\tsignal_end\toutput"
    (folder / "train.tsv").write_text("\n".join([header, *rows, ""]))


def read_arrays(folder: Path) -> list[str]:
    return check_source(kind="feature_tsv", fps=25, train=str(folder / "train.tsv"))


def make_written(folder: Path) -> None:
    from written import SIGNS

    rows = [f"{sign}\t0\t0\tText." for sign in SIGNS]
    header = "signal\tsignal_start\tsignal_end\toutput"
    (folder / "train.tsv").write_text("\n".join([header, *rows, ""]))


def read_written(folder: Path) -> list[str]:
    train = str(folder / "train.tsv")
    return check_source(kind="signwriting_tsv", train=train) + check_source(
        kind="text_tsv", train=train
    )


def make_images(folder: Path) -> None:
    from PIL import Image

    for name in ("0.png", "1.jpg", "2.webp"):
        Image.new("RGB", (12, 9), (200, 10, 30)).save(folder / name)
    np.save(folder / "3.npy", np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    names = ("0.png", "1.jpg", "2.webp", "3.npy")
    rows = ["signal\toutput", *(f"{name}\tText." for name in names), ""]
    (folder / "train.tsv").write_text("\n".join(rows))


def read_images(folder: Path) -> list[str]:
    return check_source(kind="image_tsv", train=str(folder / "train.tsv"))


def make_pickle(folder: Path) -> None:
    motion = np.arange(2 * 22 * 3, dtype=np.float32).reshape(2, 22, 3)
    records = [
        {"video_name": f"v{n}", "features": motion + n, "captions": ["Go."]} for n in range(2)
    ]
    with (folder / "motions.pkl").open("wb") as file:
        pickle.dump(records, file)


def read_pickle(folder: Path) -> None:
    from kinesweep.interop.motion_pickle import convert_pickled_motions

    (folder / "out").mkdir(exist_ok=True)
    convert_pickled_motions(folder / "motions.pkl", folder / "out/motions.tsv")


SOURCE_TARGETS = (
    Target("pose", make_poses, ("*.pose",), read_poses),
    Target("pose table", make_poses, ("*.tsv",), read_poses),
    Target("prepare generic", make_poses, ("*.tsv",), prepare_generic),
    Target("video", make_video, ("*.mp4", "*.mkv"), read_video),
    Target("video table", make_video, ("*.tsv",), read_video),
    Target("npz pack", make_skeletons, ("*.npz", "*.tsv"), read_skeletons),
    Target("npy and npz", make_motions, ("*.np?", "*.tsv"), read_motions),
    Target("h5 shards", make_shards, ("**/*.h5", "**/*.json"), read_shards),
    Target("written table", make_written, ("*.tsv",), read_written),
    Target("images", make_images, ("*.png", "*.jpg", "*.webp", "*.npy", "*.tsv"), read_images),
    Target("feature arrays", make_arrays, ("*.np?", "*.pt", "*.tsv"), read_arrays),
    Target("pt features", make_features, ("**/*.pt", "**/*.tsv"), read_features),
    Target("pickle", make_pickle, ("*.pkl",), read_pickle),
)
