"""The marker file of an export, which records its layout and the exported store.

Only a folder with the marker of the same layout may be overwritten, so that no other files are
removed.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kinesweep.store.format.writer import write_bytes_durably

EXPORT_MARKER = "handed_over.json"
"""Name of the marker file in the folder of an export."""


def write_marker(output_dir: Path, layout: str, content: Mapping[str, Any]) -> None:
    """Write the marker of an export, durably.

    Args:
        output_dir: Folder of the export.
        layout: Name of the layout, the `kind` of the source that reads it.
        content: Fingerprint of the store, and what the layout needs besides.
    """
    marker = {"layout": layout, **content}
    write_bytes_durably(output_dir / EXPORT_MARKER, f"{json.dumps(marker, indent=1)}\n".encode())


def read_marker(output_dir: Path, layout: str, default_layout: str = "") -> dict[str, Any] | None:
    """Read the marker of an export; return None if there is none, or one of another layout.

    Args:
        output_dir: Folder of the export.
        layout: Name of the layout.
        default_layout: Layout of markers that name none.
    """
    try:
        marker = json.loads((output_dir / EXPORT_MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(marker, dict) or marker.get("layout", default_layout) != layout:
        return None
    return marker
