"""The files of an estimator's output for one clip."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ClipOutput:
    """The files of an estimator's output for one clip.

    Attributes:
        files: One file, or one for each frame.
        numbers: Frame number of each file; None if a single file contains the whole clip.
    """

    files: tuple[Path, ...]
    numbers: tuple[int, ...] | None = None

    @property
    def path(self) -> Path:
        """Return the file, or the folder that contains the files of the frames."""
        return self.files[0] if self.numbers is None else self.files[0].parent

    def numbered_files(self) -> Iterator[tuple[int, Path]]:
        """Iterate over frame numbers and their files, in the order of the numbers.

        Raises:
            ValueError: If two files have the same frame number.
        """
        path_by_number: dict[int, Path] = {}
        for number, path in sorted(zip(self.numbers or (), self.files, strict=True)):
            if number in path_by_number:
                raise ValueError(
                    f"`{path_by_number[number].name}` and `{path.name}` are both frame {number}"
                )
            path_by_number[number] = path
            yield number, path
