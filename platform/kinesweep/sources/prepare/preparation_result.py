"""The result of preparing a corpus: what was written, and why the rest was not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

SOURCE_KIND_BY_MEDIA = {"poses": "pose_tsv", "videos": "video_tsv", "features": "feature_tsv"}
"""Kind of media that a preparation writes → kind of the source that reads its TSVs."""

_FILE_BY_SOURCE_KIND = {
    "pose_tsv": "pose",
    "video_tsv": "video",
    "feature_tsv": "feature",
    "skeletons": "motion",
}


@dataclass(frozen=True)
class PreparationResult:
    """The result of the conversion of published annotations.

    Attributes:
        files: Path of the TSV by split.
        clips: Number of clips in the TSV by split.
        missing: Number of clips without a media file or annotations by split, listed in
            `missing.tsv`.
        unestimated: Number of missing clips whose video or folder of frames exists.
        dropped: Number of rows and captions that cannot be clips, by split and reason, listed in
            `dropped.tsv`.
        removed_marks: Number of marks that were removed from captions, by kind.
        unused_files: Number of caption files that were not used, by reason.
        warnings: Findings that a person should know, as full sentences.
        rows: Number of rows of a data set that contains its media, by split.
        kept: Number of these whose media files an earlier call had written, by split.
        source_kind: Kind of the source that reads the TSVs.
        source_options: Other keys of the section `source` that reads them; without any, it needs
            `root`, the folder of the media.
    """

    files: dict[str, Path]
    clips: dict[str, int]
    missing: dict[str, int]
    unestimated: int
    dropped: dict[str, dict[str, int]] = field(default_factory=dict)
    removed_marks: dict[str, int] = field(default_factory=dict)
    unused_files: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    source_kind: str = "pose_tsv"
    source_options: dict[str, str | float] = field(default_factory=dict)

    def format_lines(self, poses: Path) -> Iterator[str]:
        """Yield the lines that tell a person what was written and what was not.

        Args:
            poses: Folder of the pose files, for the command that estimates missing ones.
        """
        for split, count in self.rows.items():
            yield f"{split}: {count} rows, {self.kept.get(split, 0)} of them already written"
        for split, file in self.files.items():
            # A split without missing clips has no entry in `missing`.
            num_missing = self.missing.get(split, 0)
            kind = _FILE_BY_SOURCE_KIND[self.source_kind]
            yield f"{file}  {self.clips[split]} clips, {num_missing} without a {kind} file"
        for split in sorted(self.missing.keys() - self.files.keys()):
            num_missing = self.missing[split]
            kind = _FILE_BY_SOURCE_KIND[self.source_kind]
            yield f"{split}: none of {num_missing} clips has a {kind} file; no TSV was written"
        for split, reasons in self.dropped.items():
            yield f"{split}: dropped {sum(reasons.values())} rows: {format_counts(reasons)}"
        if self.removed_marks:
            yield f"removed marks from captions: {format_counts(self.removed_marks)}"
        if self.unused_files:
            yield f"caption files that were not used: {format_counts(self.unused_files)}"
        yield from (f"warning: {warning}" for warning in self.warnings)
        if self.unestimated:
            yield (
                f"{self.unestimated} of the missing clips exist as videos or frames; estimate their"
                f" poses with `kinesweep estimate-poses {poses} --out {poses}`, then run `prepare`"
                " again"
            )

    def format_source(self, root: Path) -> str:
        """Format the line that tells a person how a recipe reads the TSVs.

        Args:
            root: Folder of the media.
        """
        if not self.source_options:
            text = f"media paths in the TSVs are relative to source.root={root.absolute()}"
            return f"{text}; source.kind={self.source_kind}"
        options = {"kind": self.source_kind, **self.source_options}
        keys = " ".join(f"source.{key}={value}" for key, value in options.items())
        return f"a recipe reads the TSVs with {keys}"


def format_counts(counts: Mapping[str, int]) -> str:
    """Format counts by reason, the largest first: `12 music, 3 empty`."""
    # Equal counts are ordered by name, so that repeated calls print the same line.
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {reason}" for reason, count in ordered)
