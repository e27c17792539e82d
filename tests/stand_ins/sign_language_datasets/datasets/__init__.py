"""Builders whose examples have the structure of those of `sign-language-datasets` 0.4.0.

Their data are a sample corpus, `$STAND_IN_CORPUS`. `$STAND_IN_CRASH_AT` kills the process before
the example with this number; the count of examples that were made is in `$STAND_IN_COUNT`.
"""

import csv
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from pose_format import Pose

CORPUS = Path(os.environ["STAND_IN_CORPUS"])
SPLITS = tuple(os.environ.get("STAND_IN_SPLITS", "validation,test,train").split(","))


class SignDatasetConfig:
    def __init__(
        self,
        name: str,
        include_video: bool = True,
        process_video: bool | None = None,
        include_pose: str | None = None,
        process_pose: bool = True,
        fps: float | None = None,
        extra: dict[str, Any] = {},  # noqa: B006 (as in the original)
    ) -> None:
        self.name, self.include_video, self.include_pose = name, include_video, include_pose
        self.process_video, self.process_pose, self.fps = process_video, process_pose, fps


class DgsCorpusConfig(SignDatasetConfig):
    def __init__(
        self, name: str, data_type: str = "document", split: str | None = None, **rest: Any
    ) -> None:
        super().__init__(name, **rest)
        if split and not split.endswith(data_type):
            raise ValueError(f"Split '{split}' is not compatible with data type '{data_type}'.")
        self.data_type = data_type


class Dataset:
    """The examples of a split; the skipped ones are not made."""

    def __init__(self, rows: list[dict[str, str]], make: Any, start: int = 0) -> None:
        self.rows, self.make, self.start = rows, make, start

    def skip(self, count: int) -> "Dataset":
        return Dataset(self.rows, self.make, self.start + count)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for index in range(self.start, len(self.rows)):
            if os.environ.get("STAND_IN_CRASH_AT") == str(count_example()):
                os.kill(os.getpid(), signal.SIGKILL)
            yield self.make(self.rows[index], index)


def count_example() -> int:
    path = Path(os.environ.get("STAND_IN_COUNT", os.devnull))
    number = int(path.read_text() or 0) if path.is_file() else 0
    if path.name != "null":
        path.write_text(str(number + 1))
    return number


def read_pose(row: dict[str, str]) -> Any:
    return Pose.read((CORPUS / row["signal"]).read_bytes())


def encode(pose: Any, stride: int = 1) -> dict[str, Any]:
    """A pose as its feature gives it: arrays without a header, and a whole frame rate."""
    data = np.asarray(pose.body.data.filled(0), np.float32)[::stride]
    confidence = np.asarray(pose.body.confidence, np.float32)[::stride]
    return {"data": data, "conf": confidence, "fps": np.int32(pose.body.fps / stride)}


EMPTY = {"data": np.zeros((0, 1, 543, 3)), "conf": np.zeros((0, 1, 543)), "fps": np.int32(0)}


class Builder:
    BUILDER_CONFIGS = (SignDatasetConfig("default", include_pose="holistic"),)

    def __init__(self, config: Any, data_dir: str | None, **options: str) -> None:
        self.builder_config, self.options = config, options
        self.data_dir = Path(data_dir or "/default") / type(self).__name__ / config.name
        self.rows = {}
        for split in SPLITS:
            with (CORPUS / f"{split}.tsv").open(encoding="utf-8", newline="") as file:
                self.rows[split] = self.group(list(csv.DictReader(file, delimiter="\t")))
        sizes = {
            split: SimpleNamespace(num_examples=len(rows)) for split, rows in self.rows.items()
        }
        self.info = SimpleNamespace(splits=sizes, features={})

    def group(self, rows: list[dict[str, str]]) -> list[Any]:
        return rows

    def download_and_prepare(self) -> None:
        header = read_pose(
            next(csv.DictReader((CORPUS / "train.tsv").open(), delimiter="\t"))
        ).header
        feature = SimpleNamespace(_header=header)
        self.info.features = {"pose": feature, "poses": {"a": feature, "b": feature}}

    def as_dataset(self, split: str, shuffle_files: bool) -> Dataset:
        assert not shuffle_files
        return Dataset(self.rows[split], self.make)


class RWTHPhoenix2014T(Builder):
    def make(self, row: dict[str, str], index: int) -> dict[str, Any]:
        stride = 1 if self.builder_config.fps is None else round(25 / self.builder_config.fps)
        pose = EMPTY if index == 2 else encode(read_pose(row), stride)
        return {
            "id": Path(row["signal"]).stem.encode(),
            "signer": row["signer"].encode(),
            "gloss": row["gloss"].encode(),
            "text": b"" if index == 1 else row["output"].encode(),
            **({"pose": pose} if self.builder_config.include_pose else {}),
        }


class DgsCorpus(Builder):
    """A document of two clips, one by each person; the annotations are in a file of its own."""

    BUILDER_CONFIGS = (DgsCorpusConfig("default", include_pose="openpose"),)

    def group(self, rows: list[dict[str, str]]) -> list[Any]:
        return [rows[start : start + 2] for start in range(0, len(rows) - 1, 2)]

    def make(self, pair: list[dict[str, str]], index: int) -> dict[str, Any]:
        folder = CORPUS / "eaf"
        folder.mkdir(exist_ok=True)
        path = folder / (Path(pair[0]["signal"]).stem + ".tsv")
        columns = ("signal", "output", "gloss")
        path.write_text("".join("\t".join(row[c] for c in columns) + "\n" for row in pair))
        paths = {"ilex": str(path), "eaf": str(path), "srt": "", "cmdi": ""}
        second = EMPTY if index == 1 else encode(read_pose(pair[1]))
        return {
            "id": Path(pair[0]["signal"]).stem.encode(),
            "paths": {name: value.encode() for name, value in paths.items()},
            "poses": {"a": encode(read_pose(pair[0])), "b": second},
        }


tfds.BUILDERS |= {"rwth_phoenix2014_t": RWTHPhoenix2014T, "dgs_corpus": DgsCorpus}
