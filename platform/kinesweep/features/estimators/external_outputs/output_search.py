"""Search for the output of external pose estimators: the files of each clip, and its name.

OpenPose writes a file per frame; its files of one folder are sorted into videos by their names. All
other estimators write a file per video, or per image; files of images whose names differ in a
number are one clip. Only the suffix is taken off a file's name, since names of clips contain dots.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kinesweep.core.errors import InputError
from kinesweep.features.estimators.external_outputs import (
    alphapose,
    mmpose,
    openpifpaf,
)
from kinesweep.features.estimators.external_outputs.clip_output import ClipOutput
from kinesweep.features.estimators.external_outputs.frame_names import (
    number_names,
    number_openpose_names,
)
from kinesweep.features.estimators.external_outputs.json_content import load_json
from kinesweep.features.estimators.external_outputs.point_layouts import KNOWN_LAYOUTS

OPENPOSE_SUFFIX = "_keypoints.json"
# OpenPifPaf appends these suffixes to the complete name of the video or image.
_OPENPIFPAF_SUFFIXES = (".openpifpaf.json", ".predictions.json", ".pifpaf.json")
_MEDIA_SUFFIX = re.compile(
    r"\.(mp4|m4v|mov|avi|mkv|webm|mpe?g|wmv|flv|ts|jpe?g|png|bmp|gif|webp|tiff?)$", re.IGNORECASE
)
# Function that returns whether a file is the output of one image; None if it cannot tell.
_IMAGE_TESTS: Mapping[str, Callable[[Path], bool | None]] = {
    "alphapose": lambda path: alphapose.is_image_output(load_json(path)),
    "mmpose": lambda path: mmpose.is_image_output(load_json(path)),
    "openpifpaf": openpifpaf.is_image_output,
}
_ALPHAPOSE_RESULTS, _ALPHAPOSE_IMAGES = "alphapose-results.json", "sep-json"


@dataclass
class OutputSearch:
    """The result of a search.

    Attributes:
        clips: Clip name → files of its output.
        left_out: Reason → number of files that were left out.
    """

    clips: dict[str, ClipOutput] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, output: ClipOutput) -> None:
        """Add the output of a clip.

        Raises:
            InputError: If another output has the same clip name.
        """
        if self.clips.setdefault(name, output) != output:
            raise InputError(
                f"`{self.clips[name].files[0]}` and `{output.files[0]}` are both outputs of"
                f" `{name}`; import them separately"
            )


def find_estimator_outputs(estimator_name: str, inputs: Sequence[Path]) -> OutputSearch:
    """Find the output of an external estimator among files and in folders.

    Clips found below a folder are named by their path in it, so that equal names in different
    subfolders stay distinct.

    Args:
        estimator_name: Name of the estimator, a key of `OUTPUT_READERS`.
        inputs: Files and folders; folders are searched recursively.

    Raises:
        InputError: If there is no such reader, an input does not exist, there is no output, or two
            outputs have the same clip name.
        OSError: If a folder cannot be read.
    """
    if estimator_name not in KNOWN_LAYOUTS:
        raise InputError(
            f"outputs of `{estimator_name}` are not supported; supported are:"
            f" {', '.join(KNOWN_LAYOUTS)}"
        )
    search = OutputSearch()
    for root in inputs:
        if not root.exists():
            raise InputError(f"`{root}` does not exist")
        if root.is_file():
            _add_file(search, estimator_name, root)
            continue
        for folder, paths in _walk(root):
            selected = _select_files(search, estimator_name, folder, paths)
            _add_folder(search, estimator_name, root, folder, selected)
    if not search.clips:
        expected = "NAME_000000000000_keypoints.json" if _is_openpose(estimator_name) else "*.json"
        found = ", ".join(f"{count} × {reason}" for reason, count in search.left_out.items())
        places = ", ".join(f"`{path}`" for path in inputs)
        text = f"there is no output of {estimator_name} in {places}: expected files like"
        raise InputError(f"{text} `{expected}`" + (f", found {found}" if found else ""))
    return search


def _is_openpose(estimator_name: str) -> bool:
    """Return whether an estimator writes the files of OpenPose."""
    return estimator_name.startswith("openpose")


def _walk(root: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Iterate over a folder and all folders below it, with the files in each, sorted.

    Links to folders are followed, each folder is visited once.

    Raises:
        OSError: If a folder cannot be read.
    """

    def fail(error: OSError) -> None:
        """Raise an error that `os.walk` would otherwise ignore."""
        raise error

    visited = set()
    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=fail):
        real_path = os.path.realpath(folder)
        if real_path in visited:
            subfolders.clear()
            continue
        visited.add(real_path)
        subfolders.sort()
        yield Path(folder), [Path(folder, name) for name in sorted(names)]


def _select_files(
    search: OutputSearch, estimator_name: str, folder: Path, paths: Sequence[Path]
) -> list[Path]:
    """Select the files of a folder that an estimator may have written; count the others."""
    suffix = OPENPOSE_SUFFIX if _is_openpose(estimator_name) else ".json"
    # AlphaPose writes the same people twice with `--format cmu` or `open`.
    repeats = (
        estimator_name == "alphapose"
        and folder.name == _ALPHAPOSE_IMAGES
        and (folder.parent / _ALPHAPOSE_RESULTS).is_file()
    )
    selected = []
    for path in paths:
        if path.name.startswith("."):  # of macOS: `.DS_Store`, `._NAME`
            search.left_out["hidden file"] += 1
        elif not path.name.endswith(suffix):
            search.left_out[f"name does not end in `{suffix}`"] += 1
        elif repeats:
            search.left_out[f"repeats `{_ALPHAPOSE_RESULTS}`"] += 1
        else:
            selected.append(path)
    return selected


def _add_file(search: OutputSearch, estimator_name: str, path: Path) -> None:
    """Add a file that was given itself as the output of a clip.

    Raises:
        InputError: If OpenPose does not write files with this name.
    """
    name = _strip_suffix(estimator_name, path.name)
    if not _is_openpose(estimator_name):
        search.add(name, ClipOutput((path,)))
        return
    if not path.name.endswith(OPENPOSE_SUFFIX):
        raise InputError(
            f"`{path}` is not an output of {estimator_name}, which writes a file per frame, such as"
            f" `NAME_000000000000{OPENPOSE_SUFFIX}`; give the folder that contains them"
        )
    ((prefix, numbers),) = number_openpose_names([name]).numbers.items()
    search.add(prefix or name, ClipOutput((path,), tuple(numbers.values())))


def _add_folder(
    search: OutputSearch, estimator_name: str, root: Path, folder: Path, paths: Sequence[Path]
) -> None:
    """Add the outputs of the files in a folder.

    Args:
        search: Result of the search; clips are added.
        estimator_name: Name of the estimator.
        root: Folder whose search led to this folder.
        folder: Folder of the files.
        paths: Files of the estimator in the folder.

    Raises:
        InputError: If two outputs have the same clip name.
    """
    path_by_stem: dict[str, Path] = {}
    for path in paths:
        stem = _strip_suffix(estimator_name, path.name)
        if path_by_stem.setdefault(stem, path) != path:
            raise InputError(f"`{path_by_stem[stem]}` and `{path}` are both outputs of `{stem}`")
    sequences = _find_sequences(estimator_name, path_by_stem)
    in_sequences = {stem for numbers in sequences.values() for stem in numbers}
    single_files = [stem for stem in path_by_stem if stem not in in_sequences]
    relative = folder.relative_to(root)
    # The folder of a single video has the name of the video. `.` has no name of its own.
    own_name = Path(os.path.abspath(folder)).name
    folder_name = own_name if folder == root else relative.as_posix()
    is_only_one = len(sequences) == 1 and not single_files
    for prefix, numbers in sequences.items():
        name = (relative / (prefix or own_name)).as_posix()
        files = tuple(path_by_stem[stem] for stem in numbers)
        output = ClipOutput(files, tuple(numbers.values()))
        search.add(folder_name if is_only_one else name, output)
    for stem in single_files:
        search.add((relative / stem).as_posix(), ClipOutput((path_by_stem[stem],)))


def _find_sequences(
    estimator_name: str, path_by_stem: Mapping[str, Path]
) -> dict[str, dict[str, int]]:
    """Find the files that contain one frame each: prefix of a video → stem → frame number."""
    if _is_openpose(estimator_name):
        return number_openpose_names(path_by_stem).numbers
    return {
        prefix: numbers
        for prefix, numbers in number_names(path_by_stem).numbers.items()
        if len(numbers) > 1
        and _are_images(estimator_name, [path_by_stem[stem] for stem in numbers])
    }


def _are_images(estimator_name: str, paths: Sequence[Path]) -> bool:
    """Return whether files with similar names are of one image each, judged by the first that can.

    Files of images without people tell nothing; there may be many of them, but they are short.
    """
    for path in paths:
        try:
            is_image = _IMAGE_TESTS[estimator_name](path)
        except (OSError, ValueError):
            continue  # reported when the file is read
        if is_image is not None:
            return is_image
    return False


def _strip_suffix(estimator_name: str, file_name: str) -> str:
    """Return a file's name without the suffix of its estimator."""
    if _is_openpose(estimator_name):
        return file_name.removesuffix(OPENPOSE_SUFFIX)
    if estimator_name == "openpifpaf":
        for suffix in _OPENPIFPAF_SUFFIXES:
            if file_name.endswith(suffix):
                return _MEDIA_SUFFIX.sub("", file_name.removesuffix(suffix))
    return file_name.removesuffix(".json")
