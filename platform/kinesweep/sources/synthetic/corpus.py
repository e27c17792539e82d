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
FILM_CORPUS = "film_corpus"
"""Folder of the corpus whose clips are videos, if requested."""
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
    films: bool = False,
) -> SampleSummary:
    """Write the sample corpus atomically into a new or empty folder, and return its summary.

    Args:
        out: Folder of the corpus.
        clips: Number of clips of all splits together.
        seed: Random seed for sentences, signers and noise; the language never changes.
        workers: Number of processes; by default one per core, at most four. It does not affect the
            output.
        keep_existing: Whether to keep `out` unchanged if it already contains exactly this corpus.
        films: Whether to write every clip as a video too, below `film_corpus`: `videos` and one TSV
            per split. It takes 0.5 s of one core per clip.

    Raises:
        InputError: If an argument is out of range, or the folder contains something else.
        OSError: If another process puts files into the folder in the meantime.
    """
    _check_arguments(clips, seed, workers)
    sample_clips = plan_clips(clips, seed)
    fingerprint = _compute_fingerprint(sample_clips, seed)
    if films:
        # A corpus without the films is another one, which `keep_existing` must not keep.
        fingerprint = hashlib.sha256(f"{fingerprint} films".encode()).hexdigest()[:16]
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
        table_text = _format_table(sample_clips, split)
        (partial_dir / f"{split}.tsv").write_text(table_text, encoding="utf-8")
        if films:
            (partial_dir / FILM_CORPUS / "videos" / split).mkdir(parents=True)
            film_table = _format_table(sample_clips, split, films=True)
            (partial_dir / FILM_CORPUS / f"{split}.tsv").write_text(film_table, encoding="utf-8")
    num_frames, num_bytes = _write_poses(partial_dir, sample_clips, seed, workers)
    _write_videos(partial_dir, sample_clips, seed)
    summary = build_summary(sample_clips, seed, fingerprint, num_frames, num_bytes)
    (partial_dir / "README.txt").write_text(summary.format_readme(), encoding="utf-8")
    (partial_dir / _SUMMARY_NAME).write_text(json.dumps(summary.as_dict(), indent=1) + "\n")
    # Replaces an empty folder, but fails if another process has put files into it meanwhile.
    os.replace(partial_dir, out)
    return summary


def _check_arguments(clips: int, seed: int, workers: int | None) -> None:
    """Check that the arguments of `write_sample_corpus` are in range.

    Raises:
        InputError: If an argument is out of range.
    """
    if clips < MIN_NUM_CLIPS:
        raise InputError(
            f"`clips` must be at least {MIN_NUM_CLIPS} (three splits), but is {clips}."
        )
    if seed < 0:
        raise InputError(f"`seed` must be 0 or more, but is {seed}.")
    if workers is not None and workers < 1:
        raise InputError(f"`workers` must be at least 1, but is {workers}.")


def _check_output_dir(out: Path) -> None:
    """Check that a folder does not exist yet or is empty.

    Raises:
        InputError: If the path is a file or a folder with files in it.
    """
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
    """Read the summary of the sample corpus in a folder.

    Returns:
        The summary, or None if the folder contains no summary or a damaged one, or one of another
        version of this package.
    """
    try:
        # A summary of another version has other fields, which is a `TypeError`.
        return SampleSummary(**json.loads((out / _SUMMARY_NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _compute_fingerprint(clips: list[SampleClip], seed: int) -> str:
    """Compute a hash over the tables and the first four clips of each split.

    The same code makes every clip from its plan and its number, so a few clips are enough to
    represent all bytes. The hash has 16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for split in SPLITS:
        digest.update(_format_table(clips, split).encode())
        for clip in [clip for clip in clips if clip.split == split][:4]:
            digest.update(_encode_clip(clip, seed)[0])
    return digest.hexdigest()[:16]


def _format_table(clips: list[SampleClip], split: str, films: bool = False) -> str:
    """Format the clips of one split as the text of a TSV with `SAMPLE_COLUMNS`.

    Args:
        clips: Clips of all splits.
        split: Split of the table.
        films: Whether the table names videos instead of `.pose` files.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter="\t", lineterminator="\n")
    writer.writerow(SAMPLE_COLUMNS)
    for clip in clips:
        if clip.split == split:
            metadata = (
                clip.text,
                clip.signer.name,
                " ".join(clip.meaning.to_glosses()),
                clip.document,
            )
            path = _get_film_path(clip) if films else clip.path
            writer.writerow((path, 0, 0, "", "", *metadata))
    return buffer.getvalue()


def _write_poses(
    out: Path, clips: list[SampleClip], seed: int, workers: int | None
) -> tuple[int, int]:
    """Write the `.pose` files of all clips, and return the number of frames and of bytes written.

    Args:
        out: Folder of the corpus.
        clips: Clips of all splits.
        seed: Random seed of the corpus.
        workers: Number of processes; None for one per core, at most four, or one for few clips.
    """
    if workers is None:
        # The affinity counts the cores that this process may use, not those of the machine.
        workers = 1 if len(clips) < _MIN_PARALLEL_CLIPS else min(4, len(os.sched_getaffinity(0)))
    # Single clips are too small a unit of work for the processes.
    chunks = [clips[start : start + _CHUNK_CLIPS] for start in range(0, len(clips), _CHUNK_CLIPS)]
    if workers == 1:
        chunk_results = [_write_chunk(out, chunk, seed) for chunk in chunks]
    else:
        # A fork would copy locks that the caller's threads hold.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            chunk_results = list(
                pool.map(_write_chunk, [out] * len(chunks), chunks, [seed] * len(chunks))
            )
    num_frames = sum(chunk_frames for chunk_frames, _ in chunk_results)
    num_bytes = sum(chunk_bytes for _, chunk_bytes in chunk_results)
    return num_frames, num_bytes


def _write_chunk(out: Path, clips: list[SampleClip], seed: int) -> tuple[int, int]:
    """Write the `.pose` files of some clips, and return the number of frames and bytes written.

    Args:
        out: Folder of the corpus, in which the folders of the splits exist.
        clips: Clips to write.
        seed: Random seed of the corpus.
    """
    num_frames = num_bytes = 0
    # The folder exists only if films were requested.
    films_dir = out / FILM_CORPUS / "videos"
    for clip in clips:
        content, num_clip_frames = _encode_clip(clip, seed)
        if films_dir.is_dir():
            write_video(films_dir / _get_film_path(clip), _generate_points(clip, seed)[0])
        (out / clip.path).write_bytes(content)
        num_frames += num_clip_frames
        num_bytes += len(content)
    return num_frames, num_bytes


def _write_videos(out: Path, clips: list[SampleClip], seed: int) -> None:
    """Write the first two test clips also as videos and as OpenPose output.

    Args:
        out: Folder of the corpus.
        clips: Clips of all splits.
        seed: Random seed of the corpus.
    """
    for clip in [clip for clip in clips if clip.split == "test"][:_NUM_VIDEOS]:
        # Rendered again by the clip's own generator: the points equal those of its `.pose` file.
        points, confidence = _generate_points(clip, seed)
        name = Path(clip.path).stem
        write_video(out / "films" / f"{name}.mp4", points)
        write_openpose(out / "openpose" / name, points, confidence)


def _get_film_path(clip: SampleClip) -> str:
    """Return the path of a clip's video below `film_corpus/videos`."""
    return f"{clip.split}/{Path(clip.path).stem}.mp4"


def _encode_clip(clip: SampleClip, seed: int) -> tuple[bytes, int]:
    """Generate the `.pose` file of a clip, and return its bytes and its number of frames."""
    points, confidence = _generate_points(clip, seed)
    return encode_pose(points, confidence), len(points)


def _generate_points(
    clip: SampleClip, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Generate the points of a clip in pixels, (T, 576, 3), and their confidences, (T, 576)."""
    # The seeds `[seed, 0]` and `[seed, 1]` belong to the sentences and the signers (see `plan`).
    rng = np.random.default_rng([seed, 2, clip.number])
    motion = generate_sign_motion(
        clip.meaning.to_glosses(), clip.signer, rng, SignDurations(), MotionNoise()
    )
    return render_points(motion, clip.signer, rng, JITTER)
