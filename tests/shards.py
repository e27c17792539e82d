"""A tiny corpus of several streams in shards, in the layout that Sign_LLaVA published; by code.

Every word has a vector of its own in each stream, so that a model can learn from it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from kinesweep.config.loading import validate_config
from kinesweep.config.recipe.source import H5ShardsConfig
from kinesweep.sources import build_source

WIDTHS = {"pose": 8, "dino": 12, "sign2vec": 6}
RATES = {"pose": 25.0, "dino": 25.0, "sign2vec": 12.5}
SPLITS = {"train": "train", "dev": "validation", "test": "test"}
"""Word in the names of the files → split."""
DEV = "annotation.dev.json"
WORDS = ("blue", "house", "rain", "river", "bread", "night")


def h5_corpus(
    folder: Path,
    widths: Mapping[str, int] = WIDTHS,
    documents: Mapping[str, int] | None = None,
    clips: int = 3,
    shards: int = 2,
    prefix: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Writes a corpus, anew if it is there; the `source` part of a recipe that reads it.

    Args:
        folder: where.
        widths: stream → D.
        documents: word in the names of the files → videos; default: 3 of train, 2 of dev.
        clips: of a video; every other video has one more.
        shards: files of a stream and split.
        prefix: how files of all streams are called; None: as their stream.
        seed: of features and sentences.
    """
    rng = np.random.default_rng(seed)
    words = {(name, w): rng.normal(size=d) for name, d in widths.items() for w in WORDS}
    counts = documents or {"train": 3, "dev": 2}
    for token, count in counts.items():
        videos = {
            f"{token}_video{number}": [_sentence(rng) for _ in range(clips + number % 2)]
            for number in range(count)
        }
        write_annotation(folder / f"annotation.{token}.json", videos)
        for stream in widths:
            name = prefix or stream
            place = folder / stream
            place.mkdir(parents=True, exist_ok=True)
            for number in range(shards):
                (place / f"{name}.{token}.{number}.h5").unlink(missing_ok=True)
            where = {video: number % shards for number, video in enumerate(videos)}
            (place / f"metadata_{name}.{token}.json").write_text(json.dumps(where))
            for video, sentences in videos.items():
                path = place / f"{name}.{token}.{where[video]}.h5"
                arrays = {
                    f"clip_{n:02d}": _features(rng, [words[stream, w] for w in own], stream)
                    for n, own in enumerate(sentences)
                }
                write_shard(path, video, arrays)
    tables = {SPLITS[token]: str(folder / f"annotation.{token}.json") for token in counts}
    streams = [{"name": name, "fps": RATES.get(name, 25.0)} for name in widths]
    return {"kind": "h5_shards", **tables, "streams": streams}


def write_sentences(
    folder: Path, splits: Mapping[str, Mapping[str, Sequence[tuple[str, Sequence[str]]]]]
) -> dict[str, Any]:
    """Writes a corpus of one stream, four frames a sign; the `source` part of its recipe.

    Args:
        folder: where.
        splits: word in the names of the files → video → clips, each a text and its signs.
    """
    signs = sorted(
        {s for videos in splits.values() for c in videos.values() for _, n in c for s in n}
    )
    rng = np.random.default_rng(0)
    vectors = dict(zip(signs, rng.normal(size=(len(signs), 8)), strict=True))
    (folder / "pose").mkdir(parents=True)
    for token, videos in splits.items():
        plain: dict[str, Any] = {}
        for video, clips in videos.items():
            names = [f"clip_{n:02d}" for n in range(len(clips))]
            plain[video] = {"clip_order": names}
            arrays = {}
            for name, (text, own) in zip(names, clips, strict=True):
                plain[video][name] = {"translation": text, "paraphrases": [], "keywords": []}
                arrays[name] = _features(rng, [vectors[sign] for sign in own], "pose")
            write_shard(folder / "pose" / f"pose.{token}.0.h5", video, arrays)
        (folder / f"annotation.{token}.json").write_text(json.dumps(plain), encoding="utf-8")
        where = dict.fromkeys(videos, 0)
        (folder / "pose" / f"metadata_pose.{token}.json").write_text(json.dumps(where))
    tables = {SPLITS[token]: str(folder / f"annotation.{token}.json") for token in splits}
    return {"kind": "h5_shards", **tables, "streams": [{"name": "pose", "fps": 25.0}]}


def annotation_of(videos: Mapping[str, list[list[str]]]) -> dict[str, Any]:
    """What an annotation says of videos, each a list of sentences."""
    return {
        video: {
            "clip_order": [f"clip_{n:02d}" for n in range(len(sentences))],
            **{f"clip_{n:02d}": _annotated(own) for n, own in enumerate(sentences)},
        }
        for video, sentences in videos.items()
    }


def write_annotation(path: Path, videos: Mapping[str, list[list[str]]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(annotation_of(videos)), encoding="utf-8")


def write_shard(path: Path, video: str, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Puts a video into a shard: a group with a data set for each clip."""
    with h5py.File(path, "a") as file:
        group = file.create_group(video)
        for clip, x_TD in arrays.items():
            group.create_dataset(clip, data=x_TD)


def _sentence(rng: np.random.Generator) -> list[str]:
    return [WORDS[place] for place in rng.integers(len(WORDS), size=int(rng.integers(2, 5)))]


def _annotated(words: list[str]) -> dict[str, Any]:
    text = " ".join(words).capitalize() + "."
    return {
        "translation": text,
        "paraphrases": [f"So {' '.join(words)}.", f"{text[:-1]}!"],
        "keywords": list(dict.fromkeys(words)),
    }


def _features(rng: np.random.Generator, vectors: list[Any], stream: str) -> Any:
    """Four frames a word, or two at half the rate, with some noise; float16 (T, D)."""
    frames = 4 if RATES.get(stream, 25.0) == 25.0 else 2
    x_TD = np.repeat(np.stack(vectors), frames, axis=0)
    return (x_TD + 0.1 * rng.normal(size=x_TD.shape)).astype(np.float16)


def source_of(plain: dict[str, Any], **settings: Any) -> Any:
    """The source that a recipe's section names."""
    return build_source(validate_config(H5ShardsConfig, {**plain, **settings}, "test"))


def change(path: Path, edit: Callable[[Any], Any]) -> None:
    """Edits a JSON file in place; what the edit returns, if anything, takes its place."""
    content = json.loads(path.read_text())
    path.write_text(json.dumps(edit(content) or content))
