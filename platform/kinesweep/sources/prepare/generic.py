"""TSVs with names of any generation: `train.tsv`, `validation.tsv` (`val`, `dev`), `test.tsv`.

What `pose_tsv` reads is written again with the newest names, one pose folder for all splits. Times
are milliseconds.
"""

from pathlib import Path

from kinesweep.core.recipe.source import PoseTsvConfig
from kinesweep.sources.pose_tsv import PoseTsvSource
from kinesweep.sources.prepare.rows import Annotation, PoseFile, find_file

_FILES = {"train": "train", "validation": "[vd]*", "test": "test"}


def read_generic(folder: Path, split: str) -> list[Annotation]:
    """Annotations of a split.

    Raises:
        InputError: several files of the split.
        SourceError: malformed; with every line.
    """
    path = find_file(folder, f"{_FILES[split]}.tsv")
    if path is None:
        return []
    source = PoseTsvSource(PoseTsvConfig.model_validate({split: str(path)}))
    return [
        Annotation(
            id=clip.id,
            files=(PoseFile(clip.media, clip.span.start or 0, clip.span.end or 0),),
            text=clip.texts[0],
            encoder_prompt=clip.encoder_prompt,
            decoder_prompt=clip.decoder_prompt,
            document=clip.document,
            order=clip.order,
            signer=clip.signer,
            gloss=clip.gloss,
            language=clip.language,
        )
        for clip in source.clips(split)
    ]
