"""Import of poses: convert the output of other pose estimators to pose files."""

import logging
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from kinesweep.core.errors import ClipError, InputError
from kinesweep.features.estimators.external_outputs import (
    find_estimator_outputs,
    parse_video_properties,
    read_estimator_output,
)
from kinesweep.pipelines.progress import show_progress_bar

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PoseImportResult:
    """The result of an import.

    Attributes:
        num_files: Number of clips that the tool's output contains.
        failed: Name of a clip that could not be used → reason.
        people: Number of people → number of clips with so many.
        left_out: Reason → number of files that were left out of the search.
        notes: Name of a clip → findings that the user should know.
    """

    num_files: int
    failed: dict[str, str] = field(default_factory=dict)
    people: Counter[int] = field(default_factory=Counter)
    left_out: dict[str, int] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)

    @property
    def num_written(self) -> int:
        """Return the number of pose files that were written."""
        return self.num_files - len(self.failed)


def import_external_poses(
    estimator: str,
    outputs: Path,
    out: Path,
    video_properties: str,
    overwrite: bool,
    first_frame: int | None = None,
) -> PoseImportResult:
    """Convert the output of another pose estimator to pose files; log each unusable clip.

    Args:
        estimator: Name of the tool that wrote the files, such as `openpose`.
        outputs: Output file of the tool, or a folder.
        out: Output folder for the `.pose` files.
        video_properties: Size and frame rate of the videos, such as `1280x720@25`.
        overwrite: Whether existing pose files are replaced.
        first_frame: Number that the first frame of each video has in the output; None to take it
            from the output.

    Raises:
        InputError: If an argument is invalid, or if a pose file exists and may not be replaced.
    """
    properties = parse_video_properties(video_properties)
    search = find_estimator_outputs(estimator, [outputs])
    existing = [clip for clip in search.clips if (out / f"{clip}.pose").exists()]
    if existing and not overwrite:
        raise InputError(
            f"`{out}` already contains `{existing[0]}.pose`; pass `--overwrite` or another folder"
        )
    result = PoseImportResult(len(search.clips), left_out=dict(search.left_out))
    with show_progress_bar("import") as update:
        for number, (clip, output) in enumerate(search.clips.items(), 1):
            try:
                imported = read_estimator_output(estimator, output, properties, first_frame)
                target = out / f"{clip}.pose"
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    imported.pose.write(file)
                result.people[imported.num_people] += 1
                if imported.notes:
                    result.notes[clip] = list(imported.notes)
            except ClipError as error:
                result.failed[clip] = str(error)
                logger.info(f"{error.reason}  {error}")
            update(number, len(search.clips))
    return result
