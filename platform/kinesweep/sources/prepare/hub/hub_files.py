"""Files of a data set on the Hub that its rows name: relative paths and `hf://` addresses.

Only files of the data set itself are read, at the commit that its rows come from. An address may
point into an archive, such as `zip://a.mp4::hf://datasets/owner/name@commit/videos.zip`.
"""

from dataclasses import dataclass

from kinesweep.core.errors import ClipError, format_one_line

_PROTOCOL = "hf://datasets/"


@dataclass(frozen=True)
class HubFiles:
    """The files of a data set on the Hub.

    Attributes:
        name: Name of the data set, such as `owner/name`.
        commit: Commit whose files are read.
    """

    name: str
    commit: str

    def read(self, path: str) -> bytes:
        """Read a file that a row names.

        Args:
            path: Path relative to the data set, or an address.

        Raises:
            ClipError: With reason `outside_root` if the file is not one of the data set, or
                `missing_file` if it cannot be read.
        """
        address = self._resolve(path)
        from datasets.utils.file_utils import xopen

        try:
            with xopen(address, "rb") as file:
                content: bytes = file.read()
        # Network, archives and the file systems behind them have errors of many classes.
        except Exception as error:
            text = f"`{path}` cannot be read: {format_one_line(error)}"
            raise ClipError(text, "missing_file") from None
        return content

    def _resolve(self, path: str) -> str:
        """Return the address of a file of the data set.

        Raises:
            ClipError: With reason `outside_root`.
        """
        # In a chain of addresses, the last one is the archive on the Hub.
        chain, _, last = path.rpartition("::")
        is_address = last.startswith(_PROTOCOL)
        inner = last.removeprefix(_PROTOCOL)
        owned = inner.startswith((f"{self.name}/", f"{self.name}@")) if is_address else not chain
        if not owned or "://" in inner or inner.startswith("/") or ".." in inner.split("/"):
            raise ClipError(f"`{path}` is not a file of `{self.name}`", "outside_root")
        return path if is_address else f"{_PROTOCOL}{self.name}@{self.commit}/{inner}"
