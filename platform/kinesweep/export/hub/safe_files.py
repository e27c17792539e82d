"""The check that a bundle on the Hub consists of data only: no pickles, no code, no odd paths.

It allows the formats that bundles contain instead of forbidding known dangerous ones: a format
that nobody thought of is refused, too.
"""

from collections.abc import Iterable
from pathlib import PurePosixPath

from kinesweep.core.errors import BundleError

# Texts are parsed as data, safetensors are numbers, and templates run in the sandbox of jinja2.
_TEXT_SUFFIXES = (".json", ".yaml", ".md", ".txt", ".tsv", ".jinja")
# Tokenizers of sentencepiece and BPE, and fonts of images of texts.
_DATA_SUFFIXES = (".safetensors", ".model", ".spm", ".bpe", ".codes", ".ttf", ".otf", ".ttc")
_SUFFIXES = frozenset((*_TEXT_SUFFIXES, *_DATA_SUFFIXES))
# The only file of a bundle without a suffix; MLflow prescribes its name.
_NAMES = frozenset({"MLmodel"})
# Limit of common file systems for a component of a path, in bytes.
_MAX_COMPONENT_BYTES = 255


def check_file_kinds(bundle: str, names: Iterable[str]) -> None:
    """Check that no file of a bundle could run code when it is loaded, or lies outside of it.

    Args:
        bundle: Name of the bundle, for the message.
        names: Files of its manifest, relative to its folder.

    Raises:
        BundleError: If one could, or does.
    """
    for name in names:
        path = PurePosixPath(name)
        is_known = path.suffix.lower() in _SUFFIXES or name in _NAMES
        if not is_known or not _is_plain_path(name):
            raise BundleError(
                f"the bundle `{bundle}` lists {name[:200]!r}, which could run code, or whose path"
                " is hidden, too long or outside of the bundle; only safetensors, texts,"
                " tokenizers and fonts are exchanged over the Hub"
            )


def _is_plain_path(name: str) -> bool:
    """Return whether a name is a relative path without hidden, empty or odd components."""
    path = PurePosixPath(name)
    # `./x` and `a//b` are other names of files, which a comparison of names would miss.
    is_canonical = path.as_posix() == name and not path.is_absolute()
    # A leading point also covers `.` and `..`; control characters could fake a terminal's output.
    return (
        is_canonical
        and name.isprintable()
        and "\\" not in name
        and not any(part.startswith(".") for part in path.parts)
        and all(len(part.encode()) <= _MAX_COMPONENT_BYTES for part in path.parts)
    )
