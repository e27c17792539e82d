"""The sample corpus on disk: `.pose` files and one TSV a split, made wholly by code.

`write_sample` draws distinct sentences, gives each to a signer, signs it and writes it in the
formats that real corpora have, so everything downstream runs as it would on How2Sign. The same
arguments give the same bytes, whatever the number of workers: every clip draws from a generator
of its own. The default, 3,700 clips of about 24 frames, takes 0.85 GB and 13 seconds of one
core. Not a benchmark: the language is invented and its sentences are regular.
"""

import csv
import io
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kinesweep.core.errors import InputError
from kinesweep.sources.sample.body import render
from kinesweep.sources.sample.english import english
from kinesweep.sources.sample.grammar import Meaning, SentenceMix, draw_meaning
from kinesweep.sources.sample.layout import FPS, pose_bytes
from kinesweep.sources.sample.lexicon import lexicon
from kinesweep.sources.sample.motion import Noise, Pace, sign_motion
from kinesweep.sources.sample.recogniser import perfect_recogniser_bleu
from kinesweep.sources.sample.signers import KNOWN, TEST_ONLY, Signer

DEFAULT_CLIPS = 3700
MIN_CLIPS = 20
SPLITS = ("train", "validation", "test")
VALIDATION_SHARE, TEST_SHARE = 0.12, 0.1
UNKNOWN_SIGNER_SHARE = 1 / 3
"""Of the test documents."""
DOCUMENT_CLIPS = 8
JITTER = 0.012
"""Of the estimator, in shoulder distances; MediaPipe trembles by about as much."""
COLUMNS = (
    *("signal", "signal_start", "signal_end", "encoder_prompt", "decoder_prompt", "output"),
    *("signer", "gloss", "document"),
)

_CARD = """A sample corpus for Kinesweep, made by code
============================================

The language in these files is invented, and so are its signers: no person was recorded, and no
sign of any real sign language is shown. Do not study sign languages with it; use it to see a
pipeline run and to test one.

Format: `.pose` v0.2, MediaPipe Holistic layout (576 points), {fps:g} frames a second, one person.
One table a split: {tables}; paths are relative to this folder.
Made with: clips {clips}, seed {seed}.

clips        train {train}, validation {validation}, test {test}
frames       {frames}
signs        {signs} in the lexicon
signers      {signers}, of whom {unseen} appear in test alone
sentences    all different; no two splits share one
perfect recogniser
             A system that recognised every sign and mark and then wrote the likeliest English
             would score {bleu:.1f} BLEU on validation (the rest is the choice between synonyms).
"""


@dataclass(frozen=True)
class SampleClip:
    """One clip to be signed; `number` counts through all splits and seeds its noise."""

    number: int
    split: str
    name: str
    document: str
    signer: Signer
    meaning: Meaning
    text: str

    @property
    def path(self) -> str:
        """Where the clip lies in the corpus folder, with forward slashes."""
        return f"poses/{self.split}/{self.name}.pose"


@dataclass(frozen=True)
class SampleSummary:
    """What was written.

    `perfect_recogniser_bleu` is the validation BLEU of a system that recognises every sign.
    """

    out: Path
    train: int
    validation: int
    test: int
    signs: int
    signers: int
    frames: int
    num_bytes: int
    perfect_recogniser_bleu: float


def write_sample(
    out: Path, clips: int = DEFAULT_CLIPS, seed: int = 0, workers: int | None = None
) -> SampleSummary:
    """Write the corpus into `out`, a new or empty folder.

    Args:
        out: the folder.
        clips: of all splits together.
        seed: of sentences, their signers, and noise; the language is always the same.
        workers: processes; default one a core, at most four. It does not change a byte.

    Raises:
        InputError: too few clips, or a folder that holds something.
    """
    _check(out, clips, seed, workers)
    plan = plan_clips(clips, seed)
    for split in SPLITS:
        (out / "poses" / split).mkdir(parents=True)
    frames, num_bytes = _write_poses(out, plan, seed, workers)
    for split in SPLITS:
        _write_table(out / f"{split}.tsv", [clip for clip in plan if clip.split == split])
    counts = {split: sum(clip.split == split for clip in plan) for split in SPLITS}
    validation = [(c.meaning.glosses(), c.text) for c in plan if c.split == "validation"]
    summary = SampleSummary(
        out=out,
        **counts,
        signs=len(lexicon()),
        signers=len({clip.signer.name for clip in plan}),
        frames=frames,
        num_bytes=num_bytes,
        perfect_recogniser_bleu=perfect_recogniser_bleu(validation),
    )
    _write_card(summary, clips, seed)
    return summary


def plan_clips(clips: int, seed: int, mix: SentenceMix | None = None) -> list[SampleClip]:
    """All clips in order: split by split, document by document, each with a sentence of its own."""
    sentences = _sentences(np.random.default_rng([seed, 0]), mix or SentenceMix())
    validation, test = round(clips * VALIDATION_SHARE), round(clips * TEST_SHARE)
    sizes = {"train": clips - validation - test, "validation": validation, "test": test}
    rng = np.random.default_rng([seed, 1])
    plan: list[SampleClip] = []
    for split, size in sizes.items():
        for index in range(size):
            document = index // DOCUMENT_CLIPS
            if index % DOCUMENT_CLIPS == 0:
                signer = _draw_signer(rng, split, document)
            meaning, text = next(sentences)
            name = f"{split}_{index:05d}"
            folder = f"{split}_{document:04d}"
            plan.append(SampleClip(len(plan), split, name, folder, signer, meaning, text))
    return plan


def _check(out: Path, clips: int, seed: int, workers: int | None) -> None:
    if clips < MIN_CLIPS:
        raise InputError(f"`clips` must be at least {MIN_CLIPS} (three splits), but is {clips}.")
    if seed < 0:
        raise InputError(f"`seed` must be 0 or more, but is {seed}.")
    if workers is not None and workers < 1:
        raise InputError(f"`workers` must be at least 1, but is {workers}.")
    if out.exists() and not out.is_dir():
        raise InputError(f"`{out}` is a file; the sample corpus needs a folder.")
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"`{out}` is not empty. Name a new folder, or remove what lies in it.")


def _sentences(rng: np.random.Generator, mix: SentenceMix) -> Iterator[tuple[Meaning, str]]:
    """Endless meanings with their text; no two share their signs or their likeliest English."""
    seen: set[str] = set()
    while True:
        meaning = draw_meaning(rng, mix)
        plain = english(meaning)
        text = english(meaning, rng)
        if plain in seen:
            continue
        seen.add(plain)
        yield meaning, text


def _draw_signer(rng: np.random.Generator, split: str, document: int) -> Signer:
    if split == "test" and document % round(1 / UNKNOWN_SIGNER_SHARE) == 1:
        return TEST_ONLY[document // round(1 / UNKNOWN_SIGNER_SHARE) % len(TEST_ONLY)]
    return KNOWN[int(rng.integers(len(KNOWN)))]


def _write_poses(
    out: Path, plan: list[SampleClip], seed: int, workers: int | None
) -> tuple[int, int]:
    """Frames and bytes written."""
    if workers is None:
        workers = 1 if len(plan) < 300 else min(4, len(os.sched_getaffinity(0)))
    chunks = [plan[i : i + 50] for i in range(0, len(plan), 50)]
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
        rng = np.random.default_rng([seed, 2, clip.number])
        motion = sign_motion(clip.meaning.glosses(), clip.signer, rng, Pace(), Noise())
        points, confidence = render(motion, clip.signer, rng, JITTER)
        content = pose_bytes(points, confidence)
        (out / clip.path).write_bytes(content)
        frames, num_bytes = frames + len(points), num_bytes + len(content)
    return frames, num_bytes


def _write_table(path: Path, clips: list[SampleClip]) -> None:
    table = io.StringIO()
    writer = csv.writer(table, delimiter="\t", lineterminator="\n")
    writer.writerow(COLUMNS)
    for clip in clips:
        gloss = " ".join(clip.meaning.glosses())
        writer.writerow(
            [clip.path, 0, 0, "", "", clip.text, clip.signer.name, gloss, clip.document]
        )
    path.write_text(table.getvalue(), encoding="utf-8")


def _write_card(summary: SampleSummary, clips: int, seed: int) -> None:
    card = _CARD.format(
        fps=FPS,
        tables=", ".join(f"{split}.tsv" for split in SPLITS),
        clips=clips,
        seed=seed,
        train=summary.train,
        validation=summary.validation,
        test=summary.test,
        frames=summary.frames,
        signs=summary.signs,
        signers=summary.signers,
        unseen=len(TEST_ONLY),
        bleu=summary.perfect_recogniser_bleu,
    )
    (summary.out / "README.txt").write_text(card, encoding="utf-8")
