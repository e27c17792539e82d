"""Reader for generic TSVs: one table per split, with the name of the split in its name.

The words `train`, `validation` (or `valid`, `val`, `dev`) and `test` count as whole words:
`phoenix.dev.tsv` is a table of validation, `vocab.tsv` is none.

Any table that `pose_tsv` can read is rewritten with the newest column names and one pose folder for
all splits. Times are in milliseconds.
"""

from pathlib import Path

from kinesweep.config.recipe.source import PoseTsvConfig
from kinesweep.sources.pose_format.pose_tsv import PoseTsvSource
from kinesweep.sources.prepare.clip_annotation import ClipAnnotation, PoseFile
from kinesweep.sources.prepare.file_search import find_split_file
from kinesweep.sources.prepare.split_annotations import DroppedRow, SplitAnnotations


def read_generic(folder: Path, split: str) -> SplitAnnotations:
    """Read the annotations of a split; there are none if no file matches the split.

    Rows without a text or without frames are counted as dropped.

    Raises:
        InputError: If several files match the split, or a name has words of two splits.
        SourceError: If the file is malformed; names every line.
    """
    path = find_split_file(folder, split, ".tsv")
    if path is None:
        return SplitAnnotations()
    source = PoseTsvSource(PoseTsvConfig.model_validate({split: str(path)}))
    annotations = [
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
            row=clip.row,
        )
        for clip in source.list_clips(split)
    ]
    dropped = [DroppedRow(row.row, row.reason) for row in source.list_invalid_rows()]
    return SplitAnnotations(annotations, dropped)
