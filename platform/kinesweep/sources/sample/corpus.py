"""The sample corpus on disk: `.pose` files and one TSV a split, made wholly by code.

`write_sample` draws distinct sentences, gives each to a signer, signs it and writes it in the
formats that real corpora have, so everything downstream runs as it would on How2Sign. The same
arguments give the same bytes, whatever the number of workers: every clip draws from a generator
of its own. The default, 3,700 clips of about 24 frames, takes 0.85 GB and 11 seconds of one
core. Not a benchmark: the language is invented and its sentences are regular.
"""

import csv
import hashlib
import io
import json
import multiprocessing
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import InputError
from kinesweep.sources.sample.body import render
from kinesweep.sources.sample.films import write_film, write_openpose
from kinesweep.sources.sample.layout import pose_bytes
from kinesweep.sources.sample.motion import Noise, Pace, sign_motion
from kinesweep.sources.sample.plan import SPLITS, SampleClip, plan_clips
from kinesweep.sources.sample.summary import SampleSummary, summarise

DEFAULT_CLIPS = 3700
MIN_CLIPS = 12
JITTER = 0.012
"""Of the estimator, in shoulder distances."""
COLUMNS = (
    *("signal", "signal_start", "signal_end", "encoder_prompt", "decoder_prompt", "output"),
    *("signer", "gloss", "document"),
)
_SUMMARY = "sample.json"
_CHUNK_CLIPS = 50
_FILMS = 2
_FEW_CLIPS = 300
"""Fewer are written by this process: starting others would take longer."""


def write_sample(
    out: Path,
    clips: int = DEFAULT_CLIPS,
    seed: int = 0,
    workers: int | None = None,
    keep: bool = False,
) -> SampleSummary:
    """Write the corpus into `out`, a new or empty folder; whole or not at all.

    Args:
        out: the folder.
        clips: of all splits together.
        seed: of sentences, their signers, and noise; the language is always the same.
        workers: processes; default one a core, at most four. It does not change a byte.
        keep: leave `out` as it is when it holds the very corpus that would be written.

    Raises:
        InputError: too few clips, or a folder that holds something else.
    """
    _check_arguments(clips, seed, workers)
    plan = plan_clips(clips, seed)
    fingerprint = _fingerprint(plan, seed)
    if keep and (kept := _read_summary(out)) is not None and kept.fingerprint == fingerprint:
        return kept
    _check_folder(out)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for split in SPLITS:
        (partial / "poses" / split).mkdir(parents=True)
        (partial / f"{split}.tsv").write_text(_table(plan, split), encoding="utf-8")
    frames, num_bytes = _write_poses(partial, plan, seed, workers)
    _write_films(partial, plan, seed)
    summary = summarise(plan, seed, fingerprint, frames, num_bytes)
    (partial / "README.txt").write_text(summary.card(), encoding="utf-8")
    (partial / _SUMMARY).write_text(json.dumps(summary.as_dict(), indent=1) + "\n")
    os.replace(partial, out)
    return summary


def _check_arguments(clips: int, seed: int, workers: int | None) -> None:
    if clips < MIN_CLIPS:
        raise InputError(f"`clips` must be at least {MIN_CLIPS} (three splits), but is {clips}.")
    if seed < 0:
        raise InputError(f"`seed` must be 0 or more, but is {seed}.")
    if workers is not None and workers < 1:
        raise InputError(f"`workers` must be at least 1, but is {workers}.")


def _check_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"`{out}` is a file; the sample corpus needs a folder.")
    if not out.is_dir() or not any(out.iterdir()):
        return
    held = _read_summary(out)
    what = (
        f"another sample corpus (clips {held.clips}, seed {held.seed})" if held else "other files"
    )
    raise InputError(f"`{out}` holds {what}. Name a new folder, or remove it.")


def _read_summary(out: Path) -> SampleSummary | None:
    """What `out` says it holds; None when it is no sample corpus."""
    try:
        return SampleSummary(**json.loads((out / _SUMMARY).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _fingerprint(plan: list[SampleClip], seed: int) -> str:
    """16 hexadecimal digits of the tables and the first clips of each split.

    Every clip is made by the same code from the plan and its number, so these stand for all bytes.
    """
    digest = hashlib.sha256()
    for split in SPLITS:
        digest.update(_table(plan, split).encode())
        for clip in [clip for clip in plan if clip.split == split][:4]:
            digest.update(_clip_file(clip, seed)[0])
    return digest.hexdigest()[:16]


def _table(plan: list[SampleClip], split: str) -> str:
    table = io.StringIO()
    writer = csv.writer(table, delimiter="\t", lineterminator="\n")
    writer.writerow(COLUMNS)
    for clip in plan:
        if clip.split == split:
            what = (clip.text, clip.signer.name, " ".join(clip.meaning.glosses()), clip.document)
            writer.writerow((clip.path, 0, 0, "", "", *what))
    return table.getvalue()


def _write_poses(
    out: Path, plan: list[SampleClip], seed: int, workers: int | None
) -> tuple[int, int]:
    """Frames and bytes written."""
    if workers is None:
        workers = 1 if len(plan) < _FEW_CLIPS else min(4, len(os.sched_getaffinity(0)))
    chunks = [plan[i : i + _CHUNK_CLIPS] for i in range(0, len(plan), _CHUNK_CLIPS)]
    if workers == 1:
        done = [_write_chunk(out, chunk, seed) for chunk in chunks]
    else:
        context = multiprocessing.get_context("spawn")  # a fork would copy the caller's threads
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            done = list(pool.map(_write_chunk, [out] * len(chunks), chunks, [seed] * len(chunks)))
    return sum(frames for frames, _ in done), sum(num_bytes for _, num_bytes in done)


def _write_chunk(out: Path, chunk: list[SampleClip], seed: int) -> tuple[int, int]:
    frames = num_bytes = 0
    for clip in chunk:
        content, clip_frames = _clip_file(clip, seed)
        (out / clip.path).write_bytes(content)
        frames, num_bytes = frames + clip_frames, num_bytes + len(content)
    return frames, num_bytes


def _write_films(out: Path, plan: list[SampleClip], seed: int) -> None:
    """The first test clips once more, as films and as another estimator's outputs."""
    for clip in [clip for clip in plan if clip.split == "test"][:_FILMS]:
        points, confidence = _points(clip, seed)
        name = Path(clip.path).stem
        write_film(out / "films" / f"{name}.mp4", points)
        write_openpose(out / "openpose" / name, points, confidence)


def _clip_file(clip: SampleClip, seed: int) -> tuple[bytes, int]:
    """The `.pose` file of a clip and its number of frames."""
    points, confidence = _points(clip, seed)
    return pose_bytes(points, confidence), len(points)


def _points(clip: SampleClip, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Points and confidences of a clip, as they are written."""
    rng = np.random.default_rng([seed, 2, clip.number])
    motion = sign_motion(clip.meaning.glosses(), clip.signer, rng, Pace(), Noise())
    return render(motion, clip.signer, rng, JITTER)
