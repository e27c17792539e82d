"""Writer of the synthetic sample corpus: `.pose` files and one TSV per split.

`write_sample` draws distinct sentences, assigns each to a signer, generates the motion and writes
it in the formats of real corpora, so that everything downstream runs as it would on How2Sign. The
same arguments give the same bytes for any number of workers, because each clip has its own random
generator. The default, 3,700 clips of about 24 frames, takes 0.85 GB and 11 seconds of one core.
The corpus is not a benchmark: its language is invented and its sentences are regular.
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
from kinesweep.sources.synthetic.body import render
from kinesweep.sources.synthetic.layout import encode_pose
from kinesweep.sources.synthetic.motion import Noise, Pace, sign_motion
from kinesweep.sources.synthetic.plan import SPLITS, SampleClip, plan_clips
from kinesweep.sources.synthetic.summary import SampleSummary, summarise
from kinesweep.sources.synthetic.videos import write_film, write_openpose

DEFAULT_CLIPS = 3700
MIN_CLIPS = 12
JITTER = 0.012
"""Standard deviation of the simulated pose estimator's jitter, in shoulder distances."""
COLUMNS = (
    *("signal", "signal_start", "signal_end", "encoder_prompt", "decoder_prompt", "output"),
    *("signer", "gloss", "document"),
)
_SUMMARY = "sample.json"
_CHUNK_CLIPS = 50
_FILMS = 2
_FEW_CLIPS = 300
"""Below this number, one process writes all clips: starting others would take longer."""


def write_sample(
    out: Path,
    clips: int = DEFAULT_CLIPS,
    seed: int = 0,
    workers: int | None = None,
    keep: bool = False,
) -> SampleSummary:
    """Write the corpus atomically into `out`, a new or empty folder.

    Args:
        out: Folder of the corpus.
        clips: Number of clips of all splits together.
        seed: Random seed for sentences, signers and noise; the language never changes.
        workers: Number of processes; by default one per core, at most four. It does not affect the
            output.
        keep: Whether to keep `out` unchanged if it already contains exactly this corpus.

    Raises:
        InputError: If there are too few clips, or the folder contains something else.
    """
    _check_arguments(clips, seed, workers)
    plan = plan_clips(clips, seed)
    fingerprint = _fingerprint(plan, seed)
    if keep and (kept := _read_summary(out)) is not None and kept.fingerprint == fingerprint:
        return kept
    _check_folder(out)
    # Built next to `out` and renamed at the end: an interrupted call leaves nothing in `out`.
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
    # Replaces an empty folder, but fails if another process has put files into it meanwhile.
    os.replace(partial, out)
    return summary


def _check_arguments(clips: int, seed: int, workers: int | None) -> None:
    """Raise an `InputError` for arguments out of range."""
    if clips < MIN_CLIPS:
        raise InputError(f"`clips` must be at least {MIN_CLIPS} (three splits), but is {clips}.")
    if seed < 0:
        raise InputError(f"`seed` must be 0 or more, but is {seed}.")
    if workers is not None and workers < 1:
        raise InputError(f"`workers` must be at least 1, but is {workers}.")


def _check_folder(out: Path) -> None:
    """Raise an `InputError` unless `out` is new or empty."""
    if out.exists() and not out.is_dir():
        raise InputError(f"`{out}` is a file; the sample corpus needs a folder.")
    if not out.is_dir() or not any(out.iterdir()):
        return
    held = _read_summary(out)
    what = (
        f"another sample corpus (clips {held.clips}, seed {held.seed})" if held else "other files"
    )
    raise InputError(f"`{out}` holds {what}. Choose a new folder, or remove this one.")


def _read_summary(out: Path) -> SampleSummary | None:
    """Return the summary stored in `out`, or None if it is not a sample corpus."""
    try:
        # A summary of another version has other fields, which is a `TypeError`.
        return SampleSummary(**json.loads((out / _SUMMARY).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _fingerprint(plan: list[SampleClip], seed: int) -> str:
    """Return 16 hexadecimal digits of a hash over the tables and the first clips of each split.

    The same code makes every clip from the plan and the clip's number, so a few clips are enough to
    represent all bytes.
    """
    digest = hashlib.sha256()
    for split in SPLITS:
        digest.update(_table(plan, split).encode())
        for clip in [clip for clip in plan if clip.split == split][:4]:
            digest.update(_clip_file(clip, seed)[0])
    return digest.hexdigest()[:16]


def _table(plan: list[SampleClip], split: str) -> str:
    """Format the TSV of a split."""
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
    """Write the `.pose` files, and return the number of frames and bytes."""
    if workers is None:
        # The affinity counts the cores that this process may use, not those of the machine.
        workers = 1 if len(plan) < _FEW_CLIPS else min(4, len(os.sched_getaffinity(0)))
    # Single clips are too small a unit of work for the processes.
    chunks = [plan[i : i + _CHUNK_CLIPS] for i in range(0, len(plan), _CHUNK_CLIPS)]
    if workers == 1:
        done = [_write_chunk(out, chunk, seed) for chunk in chunks]
    else:
        # A fork would copy locks that the caller's threads hold.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            done = list(pool.map(_write_chunk, [out] * len(chunks), chunks, [seed] * len(chunks)))
    return sum(frames for frames, _ in done), sum(num_bytes for _, num_bytes in done)


def _write_chunk(out: Path, chunk: list[SampleClip], seed: int) -> tuple[int, int]:
    """Write some clips, and return the number of frames and bytes."""
    frames = num_bytes = 0
    for clip in chunk:
        content, clip_frames = _clip_file(clip, seed)
        (out / clip.path).write_bytes(content)
        frames, num_bytes = frames + clip_frames, num_bytes + len(content)
    return frames, num_bytes


def _write_films(out: Path, plan: list[SampleClip], seed: int) -> None:
    """Write the first test clips also as videos and as OpenPose output."""
    for clip in [clip for clip in plan if clip.split == "test"][:_FILMS]:
        # Rendered again by the clip's own generator: the points equal those of its `.pose` file.
        points, confidence = _points(clip, seed)
        name = Path(clip.path).stem
        write_film(out / "films" / f"{name}.mp4", points)
        write_openpose(out / "openpose" / name, points, confidence)


def _clip_file(clip: SampleClip, seed: int) -> tuple[bytes, int]:
    """Return the `.pose` file of a clip and its number of frames."""
    points, confidence = _points(clip, seed)
    return encode_pose(points, confidence), len(points)


def _points(clip: SampleClip, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the points (T, 576, 3) and confidences (T, 576) of a clip."""
    # Streams 0 and 1 of the seed belong to the sentences and the signers (see `plan`).
    rng = np.random.default_rng([seed, 2, clip.number])
    motion = sign_motion(clip.meaning.glosses(), clip.signer, rng, Pace(), Noise())
    return render(motion, clip.signer, rng, JITTER)
