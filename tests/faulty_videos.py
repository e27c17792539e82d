"""Corpora of videos with every fault at once; a fault is one line of a table, as in `faults`.

Each fault says how it is found: `first` by opening a file, decoding its first frame or counting its
frames, `all` by decoding the whole span.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from films import write_pictures, write_video
from kinesweep.config.recipe import Recipe
from timed_films import write_timed_video
from vision import film_recipe, follow_block

EVEN_MS = [40 * i for i in range(60)]
SLOWING_MS = [*EVEN_MS[:30], *(1200 + 100 * i for i in range(30))]


@dataclass(frozen=True)
class FaultyVideos:
    """A corpus of videos: its recipe, row → reason by opening the files, and by decoding only."""

    recipe: Recipe
    expected: dict[str, str]
    expected_by_decoding: dict[str, str]


def cut(path: Path, share: float = 0.6) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def _timed(ticks: list[int], share: float = 1.0, **options: Any) -> Callable[[Path], object]:
    return lambda path: cut(write_timed_video(path, ticks, rate=25, **options), share)


def _sound_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        sound = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(sound.encode(frame))


def _unknown_codec(path: Path) -> None:
    write_video(path)
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4", b"V_NOPE4"))


def _sample_sizes_lie(path: Path) -> None:
    """The last 30 samples lie beyond the file (ISO 14496-12, 8.7.3)."""
    content = write_video(path, 100).read_bytes()
    place = content.index(b"stsz") + 12 + 4 * 70
    path.write_bytes(content[:place] + b"\x00\xff\xff\xff" * 30 + content[place + 120 :])


def _damaged_inside(path: Path) -> None:
    """The bits of a VP8 frame in the middle are others."""
    write_timed_video(path, EVEN_MS, rate=25)
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    place = path.read_bytes().index(packets[31])
    content = bytearray(path.read_bytes())
    content[place : place + len(packets[31])] = b"\x00" * len(packets[31])
    path.write_bytes(content)


def _joined(path: Path) -> None:
    """Two files one after another: the clock of a transport stream starts again."""
    write_timed_video(path, EVEN_MS, rate=25, codec="libx264", container_format="mpegts")
    path.write_bytes(path.read_bytes() * 2)


def _images(damage: Callable[[Path], object]) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        write_pictures(path, 12)
        damage(path)

    return write


def _other_size(path: Path) -> None:
    write_video(path.with_name("wide.mkv"), 1, width=96)
    with av.open(str(path.with_name("wide.mkv"))) as container:
        next(container.decode(video=0)).to_image().save(path / "7.png")


Fault = tuple[str, str, Callable[[Path], object], str]
FAULTS: list[Fault] = [
    ("missing.mp4", "first", lambda path: None, "missing_file"),
    ("folder.mp4", "first", lambda path: path.mkdir(), "not_a_file"),
    ("empty.mp4", "first", lambda path: path.write_bytes(b""), "not_a_video"),
    ("words.mp4", "first", lambda path: path.write_text("no video"), "not_a_video"),
    ("sound.mkv", "first", _sound_only, "not_a_video"),
    ("codec.mkv", "first", _unknown_codec, "not_a_video"),
    ("header.mp4", "first", lambda path: cut(write_video(path), 0.1), "not_a_video"),
    ("index_lost.mp4", "first", _timed(EVEN_MS, 0.5), "not_a_video"),
    ("index_cut.mp4", "first", _timed(EVEN_MS, 0.9), "no_frames"),
    ("cut.mp4", "first", lambda path: cut(write_video(path, 200, width=512)), "truncated"),
    (
        "slowing.mov",
        "first",
        _timed(SLOWING_MS, 0.7, container_options={"movflags": "faststart"}),
        "truncated",
    ),
    ("stopped.mkv", "first", _timed(EVEN_MS, 0.6), "truncated"),
    ("recorded.webm", "first", _timed(SLOWING_MS, 0.6), "truncated"),
    ("lying.mp4", "first", _sample_sizes_lie, "truncated"),
    ("damaged.webm", "all", _damaged_inside, "truncated"),
    ("joined.mpg", "all", _joined, "bad_times"),
    ("pause.webm", "all", _timed([*EVEN_MS, 10_000_000]), "bad_times"),
    ("no_images", "first", lambda path: path.mkdir(), "not_a_file"),
]
IMAGE_FAULTS: list[Fault] = [
    ("words", "first", _images(lambda path: (path / "5.png").write_text("no image")), "bad_frame"),
    ("empty", "first", _images(lambda path: (path / "12.png").write_bytes(b"")), "bad_frame"),
    ("cut", "first", _images(lambda path: cut(path / "9.png")), "bad_frame"),
    ("sizes", "first", _images(_other_size), "sizes_differ"),
]
Row = tuple[str, str, str, str, str]
ROWS: list[Row] = [
    ("good0.mp4", "0", "400", "", "empty_text"),
    ("good0.mp4", "9000", "9400", "Text.", "span_beyond_file"),
    ("good0.mp4", "400", "200", "Text.", "empty_span"),
    ("good0.mp4", "200", "5000", "Text.", "span_cut"),
    ("good0.mp4", "0", "0", "Text.", "empty_span"),
    ("../good.mp4", "", "", "Text.", "outside_root"),
    ("delayed.mov", "400", "800", "Text.", "span_before_video"),
    # Before the place from which the files are cut off or damaged, and behind it.
    ("part_cut.mp4", "400", "1200", "Text.", ""),
    ("part_cut.mp4", "400", "7200", "Text.", "truncated"),
    ("part_cut.mp4", "7200", "7800", "Text.", "span_beyond_file"),
    ("part_lying.mp4", "400", "1200", "Text.", ""),
    ("part_lying.mp4", "2600", "3200", "Text.", "truncated"),
    ("part_pause.webm", "400", "1200", "Text.", ""),
]


def faulty_video_corpus(folder: Path, model: Path, images: bool = False) -> FaultyVideos:
    """A `video_tsv` corpus; with images, all rows are folders of images at a stated rate."""
    corpus = folder / "corpus"
    corpus.mkdir(parents=True)
    rows = ["signal\tsignal_start\tsignal_end\toutput"]
    expected: dict[str, dict[str, str]] = {"first": {}, "all": {}}
    for number in range(3):
        name = f"good{number}" if images else f"good{number}.mp4"
        write_pictures(corpus / name) if images else write_video(corpus / name, 12 + number)
        rows.append(f"{name}\t0\t400\tText {number}.")
    write_timed_video(corpus / "delayed.mov", [*range(2000, 3000, 40)], rate=25, audio_from_s=0)
    for name, depth, write, reason in IMAGE_FAULTS if images else FAULTS:
        write(corpus / name)
        rows.append(f"{name}\t\t\tText.")
        expected[depth][f"train.tsv:{len(rows)}"] = reason
        if name in ("cut.mp4", "lying.mp4", "pause.webm"):
            write(corpus / f"part_{name}")
    for name, start, end, text, reason in () if images else ROWS:
        rows.append(f"{name}\t{start}\t{end}\t{text}")
        if reason:
            expected["first"][f"train.tsv:{len(rows)}"] = reason
    (corpus / "train.tsv").write_text("\n".join(rows) + "\n")
    (corpus / "validation.tsv").write_text("\n".join(rows[:2]) + "\n")
    source = {"fps": 25} if images else {}
    return FaultyVideos(_recipe(corpus, model, source), expected["first"], expected["all"])


def _recipe(corpus: Path, model: Path, source: dict[str, Any], **features: Any) -> Recipe:
    store = {"max_dropped_share": 1.0, "required_splits": []}
    root = corpus.parent / "stores"
    return film_recipe(corpus, model, root, source=source, store=store, features=features)


POSE_FAULTS: list[tuple[str, Callable[[Path], object], str]] = [
    ("missing", lambda path: path.unlink(), "missing_pose"),
    ("empty", lambda path: path.write_bytes(b""), "empty_file"),
    ("words", lambda path: path.write_bytes(b"x" * 500), "not_a_pose_file"),
    ("cut", lambda path: cut(path, 0.7), "truncated"),
    ("short", lambda path: follow_block(path, 5), "pose_too_short"),
    ("no_size", lambda path: follow_block(path, 30, size=(0, 0)), "no_picture_size"),
]


def faulty_crop_corpus(folder: Path, model: Path) -> FaultyVideos:
    """Videos whose faults are those of their poses, from which face and hands are cropped."""
    corpus, expected = folder / "corpus", {}
    rows = ["signal\toutput", "good0.mp4\tText.", "good1.mp4\tText."]
    for name in ("good0", "good1", *(name for name, *_ in POSE_FAULTS)):
        write_video(corpus / f"{name}.mp4", 30)
        follow_block(corpus / "poses" / f"{name}.pose", 30)
    for name, damage, reason in POSE_FAULTS:
        damage(corpus / "poses" / f"{name}.pose")
        rows.append(f"{name}.mp4\tText.")
        expected[f"train.tsv:{len(rows)}"] = reason
    (corpus / "train.tsv").write_text("\n".join(rows) + "\n")
    (corpus / "validation.tsv").write_text("\n".join(rows[:2]) + "\n")
    source = {"poses": str(corpus / "poses")}
    crops = ["face", "left_hand", "right_hand"]
    return FaultyVideos(_recipe(corpus, model, source, crops=crops), expected, {})
