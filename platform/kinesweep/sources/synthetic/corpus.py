"""Writer of the synthetic sample corpus: `.pose` files and one TSV per split.

`write_sample_corpus` draws distinct sentences, assigns each to a signer, generates the motion and
writes it in the formats of real corpora, so that everything downstream runs as it would on
How2Sign. The same arguments give the same bytes for any number of workers, because each clip has
its own random generator. The default, 3,700 clips of about 24 frames, takes 0.85 GB and 11 seconds
of one core. The corpus is not a benchmark: its language is invented and its sentences are regular.
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
from kinesweep.sources.synthetic.body import render_points
from kinesweep.sources.synthetic.layout import encode_pose
from kinesweep.sources.synthetic.motion import MotionNoise, SignDurations, generate_sign_motion
from kinesweep.sources.synthetic.plan import SPLITS, SampleClip, plan_clips
from kinesweep.sources.synthetic.summary import SampleSummary, build_summary
from kinesweep.sources.synthetic.videos import write_openpose, write_video

DEFAULT_NUM_CLIPS = 3700
MIN_NUM_CLIPS = 12
JITTER = 0.012
"""Standard deviation of the simulated pose estimator's jitter, in shoulder distances."""
SAMPLE_COLUMNS = (
    *("signal", "signal_start", "signal_end", "encoder_prompt", "decoder_prompt", "output"),
    *("signer", "gloss", "document"),
)
_SUMMARY_NAME = "sample.json"
_CHUNK_CLIPS = 50
_NUM_VIDEOS = 2
_MIN_PARALLEL_CLIPS = 300
"""Below this number, one process writes all clips: starting others would take longer."""


def write_sample_corpus(
    out: Path,
    clips: int = DEFAULT_NUM_CLIPS,
    seed: int = 0,
    workers: int | None = None,
    keep_existing: bool = False,
) -> SampleSummary:
    """Write the corpus atomically into `out`, a new or empty folder.

    Args:
        out: Folder of the corpus.
        clips: Number of clips of all splits together.
        seed: Random seed for sentences, signers and noise; the language never changes.
        workers: Number of processes; by default one per core, at most four. It does not affect the
            output.
        keep_existing: Whether to keep `out` unchanged if it already contains exactly this corpus.

    Raises:
        InputError: If there are too few clips, or the folder contains something else.
    """
    _check_arguments(clips, seed, workers)
    plan = plan_clips(clips, seed)
    fingerprint = _compute_fingerprint(plan, seed)
    if (
        keep_existing
        and (existing := _read_summary(out)) is not None
        and existing.fingerprint == fingerprint
    ):
        return existing
    _check_output_dir(out)
    # Built next to `out` and renamed at the end: an interrupted call leaves nothing in `out`.
    partial_dir = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial_dir, ignore_errors=True)
    for split in SPLITS:
        (partial_dir / "poses" / split).mkdir(parents=True)
        (partial_dir / f"{split}.tsv").write_text(_format_table(plan, split), encoding="utf-8")
    num_frames, num_bytes = _write_poses(partial_dir, plan, seed, workers)
    _write_videos(partial_dir, plan, seed)
    summary = build_summary(plan, seed, fingerprint, num_frames, num_bytes)
    (partial_dir / "README.txt").write_text(summary.format_readme(), encoding="utf-8")
    (partial_dir / _SUMMARY_NAME).write_text(json.dumps(summary.as_dict(), indent=1) + "\n")
    # Replaces an empty folder, but fails if another process has put files into it meanwhile.
    os.replace(partial_dir, out)
    return summary


def _check_arguments(clips: int, seed: int, workers: int | None) -> None:
    """Raise an `InputError` for arguments out of range."""
    if clips < MIN_NUM_CLIPS:
        raise InputError(
            f"`clips` must be at least {MIN_NUM_CLIPS} (three splits), but is {clips}."
        )
    if seed < 0:
        raise InputError(f"`seed` must be 0 or more, but is {seed}.")
    if workers is not None and workers < 1:
        raise InputError(f"`workers` must be at least 1, but is {workers}.")


def _check_output_dir(out: Path) -> None:
    """Raise an `InputError` unless `out` is new or empty."""
    if out.exists() and not out.is_dir():
        raise InputError(f"`{out}` is a file; the sample corpus needs a folder.")
    if not out.is_dir() or not any(out.iterdir()):
        return
    existing = _read_summary(out)
    description = (
        f"another sample corpus (clips {existing.clips}, seed {existing.seed})"
        if existing
        else "other files"
    )
    raise InputError(f"`{out}` holds {description}. Choose a new folder, or remove this one.")


def _read_summary(out: Path) -> SampleSummary | None:
    """Return the summary stored in `out`, or None if it is not a sample corpus."""
    try:
        # A summary of another version has other fields, which is a `TypeError`.
        return SampleSummary(**json.loads((out / _SUMMARY_NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _compute_fingerprint(plan: list[SampleClip], seed: int) -> str:
    """Return 16 hexadecimal digits of a hash over the tables and the first clips of each split.

    The same code makes every clip from the plan and the clip's number, so a few clips are enough to
    represent all bytes.
    """
    digest = hashlib.sha256()
    for split in SPLITS:
        digest.update(_format_table(plan, split).encode())
        for clip in [clip for clip in plan if clip.split == split][:4]:
            digest.update(_encode_clip(clip, seed)[0])
    return digest.hexdigest()[:16]


def _format_table(plan: list[SampleClip], split: str) -> str:
    """Format the TSV of a split."""
    table = io.StringIO()
    writer = csv.writer(table, delimiter="\t", lineterminator="\n")
    writer.writerow(SAMPLE_COLUMNS)
    for clip in plan:
        if clip.split == split:
            metadata = (
                clip.text,
                clip.signer.name,
                " ".join(clip.meaning.to_glosses()),
                clip.document,
            )
            writer.writerow((clip.path, 0, 0, "", "", *metadata))
    return table.getvalue()


def _write_poses(
    out: Path, plan: list[SampleClip], seed: int, workers: int | None
) -> tuple[int, int]:
    """Write the `.pose` files, and return the number of frames and bytes."""
    if workers is None:
        # The affinity counts the cores that this process may use, not those of the machine.
        workers = 1 if len(plan) < _MIN_PARALLEL_CLIPS else min(4, len(os.sched_getaffinity(0)))
    # Single clips are too small a unit of work for the processes.
    chunks = [plan[i : i + _CHUNK_CLIPS] for i in range(0, len(plan), _CHUNK_CLIPS)]
    if workers == 1:
        chunk_results = [_write_chunk(out, chunk, seed) for chunk in chunks]
    else:
        # A fork would copy locks that the caller's threads hold.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            chunk_results = list(
                pool.map(_write_chunk, [out] * len(chunks), chunks, [seed] * len(chunks))
            )
    return sum(frames for frames, _ in chunk_results), sum(
        num_bytes for _, num_bytes in chunk_results
    )


def _write_chunk(out: Path, chunk: list[SampleClip], seed: int) -> tuple[int, int]:
    """Write some clips, and return the number of frames and bytes."""
    num_frames = num_bytes = 0
    for clip in chunk:
        content, clip_frames = _encode_clip(clip, seed)
        (out / clip.path).write_bytes(content)
        num_frames, num_bytes = num_frames + clip_frames, num_bytes + len(content)
    return num_frames, num_bytes


def _write_videos(out: Path, plan: list[SampleClip], seed: int) -> None:
    """Write the first test clips also as videos and as OpenPose output."""
    for clip in [clip for clip in plan if clip.split == "test"][:_NUM_VIDEOS]:
        # Rendered again by the clip's own generator: the points equal those of its `.pose` file.
        points, confidence = _generate_points(clip, seed)
        name = Path(clip.path).stem
        write_video(out / "films" / f"{name}.mp4", points)
        write_openpose(out / "openpose" / name, points, confidence)


def _encode_clip(clip: SampleClip, seed: int) -> tuple[bytes, int]:
    """Encode the `.pose` file of a clip; return its bytes and its number of frames."""
    points, confidence = _generate_points(clip, seed)
    return encode_pose(points, confidence), len(points)


def _generate_points(
    clip: SampleClip, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Generate the points (T, 576, 3) and confidences (T, 576) of a clip."""
    # Streams 0 and 1 of the seed belong to the sentences and the signers (see `plan`).
    rng = np.random.default_rng([seed, 2, clip.number])
    motion = generate_sign_motion(
        clip.meaning.to_glosses(), clip.signer, rng, SignDurations(), MotionNoise()
    )
    return render_points(motion, clip.signer, rng, JITTER)
