"""Reader for generic TSVs: `train.tsv`, `validation.tsv` (or `val`, `dev`) and `test.tsv`.

Any table that `pose_tsv` can read is rewritten with the newest column names and one pose folder for
all splits. Times are in milliseconds.
"""

from pathlib import Path

from kinesweep.config.recipe.source import PoseTsvConfig
from kinesweep.sources.pose_format.pose_tsv import PoseTsvSource
from kinesweep.sources.prepare.clip_annotation import ClipAnnotation, PoseFile
from kinesweep.sources.prepare.file_search import find_single_file

# Globs without their suffix. `[vd]*` matches `validation`, `val` and `dev`, but also any other name
# that begins with one of these letters.
_FILE_PATTERNS = {"train": "train", "validation": "[vd]*", "test": "test"}


def read_generic(folder: Path, split: str) -> list[ClipAnnotation]:
    """Read the annotations of a split; there are none if no file matches the split.

    Rows without a text or without frames are left out.

    Raises:
        InputError: If several files match the split.
        SourceError: If the file is malformed; names every line.
    """
    path = find_single_file(folder, f"{_FILE_PATTERNS[split]}.tsv")
    if path is None:
        return []
    source = PoseTsvSource(PoseTsvConfig.model_validate({split: str(path)}))
    return [
        ClipAnnotation(
            id=clip.id,
            candidate_files=(PoseFile(clip.media, clip.span.start or 0, clip.span.end or 0),),
            text=clip.texts[0],
            encoder_prompt=clip.encoder_prompt,
            decoder_prompt=clip.decoder_prompt,
            document=clip.document,
            order=clip.order,
            signer=clip.signer,
            gloss=clip.gloss,
            language=clip.language,
        )
        for clip in source.list_clips(split)
    ]
