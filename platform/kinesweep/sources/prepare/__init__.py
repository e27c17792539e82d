"""Conversion of published annotation files to TSVs that `pose_tsv` and `video_tsv` read.

The reader of a corpus turns its annotation files into rows. The rest is common to all corpora: the
pose file or video of each row is looked up (files are not moved), rows without one are counted and
listed, and existing TSVs are replaced only on request. Each row of the annotations is written, or
counted with a reason. Readers are selected by name from the table below.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from kinesweep.core.clip import SPLITS
from kinesweep.core.errors import InputError
from kinesweep.sources.prepare.corpus_tables import (
    MISSING_TABLE_NAME,
    check_no_tables,
    write_corpus_tables,
)
from kinesweep.sources.prepare.csl_daily import read_csl_daily
from kinesweep.sources.prepare.dailymoth import read_dailymoth
from kinesweep.sources.prepare.generic_tsv import read_generic
from kinesweep.sources.prepare.how2sign import read_how2sign
from kinesweep.sources.prepare.openasl import read_openasl
from kinesweep.sources.prepare.phoenix import read_phoenix
from kinesweep.sources.prepare.preparation_result import PreparationResult
from kinesweep.sources.prepare.split_annotations import SplitAnnotations
from kinesweep.sources.prepare.youtube_asl import read_youtube_asl

__all__ = ["ANNOTATION_READERS", "MISSING_TABLE_NAME", "prepare_corpus"]

ANNOTATION_READERS: dict[str, Callable[[Path, str], SplitAnnotations]] = {
    "how2sign": read_how2sign,
    "phoenix": read_phoenix,
    "csl_daily": read_csl_daily,
    "openasl": read_openasl,
    "youtube_asl": read_youtube_asl,
    "dailymoth": read_dailymoth,
    "generic": read_generic,
}
"""Corpus → function that reads a split's annotations; it returns none if the split has no file."""
_EXPECTED_FILES = {
    "how2sign": "expected files such as `how2sign_train.csv` and `how2sign_val.csv`",
    "phoenix": "expected files such as `PHOENIX-2014-T.train.corpus.csv`",
    "csl_daily": "expected `video_map.txt` and `split_1.txt`",
    "openasl": "expected `openasl-v1.0.tsv`",
    "youtube_asl": (
        "expected captions and a list of the videos, one id per line, such as"
        " `youtube_asl_video_ids.txt`"
    ),
    "dailymoth": "expected manifests such as `train.tsv` and `val.tsv`",
    "generic": "expected tables such as `train.tsv` and `validation.tsv`",
}
"""Corpus → names of the files that its reader looks for, for error messages."""
_VIDEO_CORPORA = ("dailymoth",)
"""Corpora that are published as videos that are cut to the clips, so that these are looked up."""


def prepare_corpus(
    corpus: str,
    annotations: Path,
    poses: Path,
    out: Path,
    overwrite: bool = False,
    languages: Sequence[str] = (),
    *,
    media: str | None = None,
) -> PreparationResult:
    """Convert published annotations to one TSV in `out` for each split that has any.

    The files are named `train.tsv`, `validation.tsv` and `test.tsv`. Media paths are written
    relative to `poses`, which a recipe sets as `source.root`. Clips without a media file or
    annotations are listed in `missing.tsv`, rows that cannot be clips in `dropped.tsv`.

    Args:
        corpus: Name of the corpus, a key of `ANNOTATION_READERS`.
        annotations: Folder of the published annotation files.
        poses: Folder of the `.pose` files, or of the videos or folders of frames.
        out: Folder for the TSVs; other files in it are kept.
        overwrite: Whether to remove the TSVs of an earlier call, of all splits, and write new ones.
        languages: Languages of captions in the order of preference, or `all`; for `youtube_asl`.
        media: Media to look up, `poses` or `videos`. Default: the videos of `dailymoth`, poses of
            the other corpora. Videos without poses are reported if poses are looked up.

    Raises:
        InputError: If a folder does not exist, there are no annotations, there are no media at all,
            `out` already contains TSVs and `overwrite` is False, languages are given for a corpus
            without captions, or `media` is neither.
        SourceError: If an annotation file is malformed; names every line.
    """
    media = media or ("videos" if corpus in _VIDEO_CORPORA else "poses")
    if media not in ("poses", "videos"):
        raise InputError(f"published files have no `{media}` to write; use `poses` or `videos`")
    for folder in (annotations, poses):
        if not folder.is_dir():
            raise InputError(f"`{folder}` is not a folder")
    if not overwrite:
        check_no_tables(out)
    read = _select_reader(corpus, languages)
    annotations_by_split = {split: read(annotations, split) for split in SPLITS}
    if not any(part.annotations or part.dropped for part in annotations_by_split.values()):
        raise InputError(
            f"`{annotations}` contains no annotations of {corpus}; {_EXPECTED_FILES[corpus]}"
        )
    return write_corpus_tables(annotations_by_split, poses, out, media)


def _select_reader(
    corpus: str, languages: Sequence[str]
) -> Callable[[Path, str], SplitAnnotations]:
    """Return the reader of a corpus, which knows the languages that were asked for.

    Raises:
        InputError: If languages are given for a corpus without captions.
    """
    if not languages:
        return ANNOTATION_READERS[corpus]
    if corpus != "youtube_asl":
        raise InputError(
            f"`--languages` chooses among captions, and {corpus} has none; leave it out"
        )
    return partial(read_youtube_asl, languages=languages)
