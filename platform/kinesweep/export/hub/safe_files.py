"""The check that a bundle on the Hub consists of data only: no pickles, no code, no odd paths."""

from collections.abc import Iterable
from pathlib import PurePosixPath

from kinesweep.core.errors import BundleError
from kinesweep.core.pickle_policy import PICKLE_SUFFIXES

# Formats that are code, or that common loaders unpickle.
_UNSAFE_SUFFIXES = frozenset(
    (*PICKLE_SUFFIXES, ".py", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".so", ".npy", ".h5")
)


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
        is_outside = path.is_absolute() or ".." in path.parts or "\\" in name
        if path.suffix.lower() in _UNSAFE_SUFFIXES or is_outside:
            raise BundleError(
                f"the bundle `{bundle}` lists `{name}`, which could run code or lies outside of the"
                " bundle; only safetensors and text are exchanged over the Hub"
            )
