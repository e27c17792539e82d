"""A corpus whose media are words in text files: `5 frames of 1.5`, `hand …`, `slow …`, `broken`."""

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.core.errors import ClipError
from kinesweep.core.paths import resolve_path_inside
from kinesweep.core.skeleton.pose import PointLayout, PoseSequence
from kinesweep.core.units import Span
from kinesweep.features import Features
from kinesweep.store.extraction.corpus_scan import ExtractionSpec

LAYOUT = PointLayout((("BODY", ("left", "right")),))
HAND = PointLayout((("HAND", ("thumb", "palm")),))


@dataclass(frozen=True)
class FakeSource:
    root: Path
    listed: tuple[Clip, ...]
    bad_rows: tuple[InvalidRow, ...] = ()

    def list_splits(self):
        return tuple(dict.fromkeys(clip.split for clip in self.listed))

    def list_clips(self, split):
        return [clip for clip in self.listed if clip.split == split]

    def list_invalid_rows(self):
        return list(self.bad_rows)

    def resolve_media_path(self, clip):
        path = resolve_path_inside(self.root, clip.media)
        if not path.is_file():
            raise ClipError(f"`{path}` is missing", reason="missing_file")
        return path

    def list_auxiliary_files(self, clip):
        return ()

    def compute_digests(self, clips):
        return {}

    def read(self, clip):
        words = self.resolve_media_path(clip).read_text().split()
        if words[0] == "broken":
            raise ClipError(f"`{clip.media}` is broken", reason="broken")
        if words[0] == "deadly":
            os._exit(1)
        if words[0] == "slow":
            time.sleep(0.03)
            words = words[1:]
        layout = HAND if words[0] == "hand" else LAYOUT
        words = words[1:] if words[0] == "hand" else words
        frames, value = int(words[0]), float(words[3])
        first, last = clip.span.to_frame_range(25.0, frames)
        points = value + np.arange(frames * 6, dtype=np.float32).reshape(frames, 1, 2, 3) / 7
        confidence = np.ones((last - first, 1, 2), dtype=np.float32)
        return PoseSequence(points[first:last], confidence, 25.0, layout)


@dataclass(frozen=True)
class FakeStep:
    scale: float = 1.0
    width: int = 6
    streams: tuple[str, ...] = ("pose",)

    @property
    def fingerprint(self):
        return f"scale {self.scale} width {self.width}"

    def compute_features(self, pose):
        flat = pose.points_TPJC.reshape(len(pose.points_TPJC), -1)
        x_TD = (flat[:, : self.width] * self.scale).astype(np.float32)
        return dict.fromkeys(self.streams, Features(x_TD, pose.fps, pose.layout))

    def estimate_shapes(self, pose):
        return dict.fromkeys(self.streams, (len(pose.points_TPJC), self.width))


def write_media(root, name, words):
    path = root / "media" / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(words)


def make_corpus(root, **splits):
    """`make_corpus(path, train=3, test=1)`: clips train-0 … with 2 to 6 frames each."""
    clips = []
    for split, count in splits.items():
        for number in range(count):
            name = f"{split}-{number}"
            write_media(root, name, f"{2 + number % 5} frames of {len(clips) / 8}")
            clips.append(
                Clip(
                    id=name,
                    split=split,
                    media=f"media/{name}.txt",
                    texts=(f"Sentence {name}.",),
                    document=f"film {number // 2}",
                    order=number,
                    row=f"{split}.tsv:{number + 2}",
                )
            )
    return FakeSource(root, tuple(clips))


def change(source, clip_id, **values):
    """The same corpus with one clip's metadata changed."""
    clips = [replace(c, **values) if c.id == clip_id else c for c in source.listed]
    return replace(source, listed=tuple(clips))


def extraction(source, root, **values):
    return ExtractionSpec(source, values.pop("step", FakeStep()), root, **values)


def frames_span(start, end):
    return Span.from_frames(start, end)
