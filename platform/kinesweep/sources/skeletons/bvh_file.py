"""Reader for motions in BVH files (Biovision Hierarchy), parsed and posed by the library pybvh.

A file states its own skeleton: the joints of its hierarchy and the ends of its limbs (`End Site`)
are the points, and forward kinematics gives their positions in the length unit of the file. Left
and right are recognized by name. The library reads one root with position channels in the order X,
Y, Z, and joints with three rotation channels in any order; other files are refused with its reason.

Shapes: T frames, P people, J points, C coordinates.
"""

import re
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from kinesweep.core.errors import ClipError, InputError, format_one_line
from kinesweep.core.skeleton.pose import PoseSequence
from kinesweep.core.skeleton.skeleton import build_point_skeleton
from kinesweep.core.units import Span
from kinesweep.sources.decoded_size import check_decoded_size
from kinesweep.sources.frame_range import resolve_frame_range

BVH_SUFFIX = ".bvh"
# A number takes at least two characters, and its parsed value and the rotation matrix that it is
# part of at most 32 bytes.
_MEMORY_BYTES_PER_CHARACTER = 16
_MAX_FPS = 1000.0  # as for `features.fps`; motion capture is faster than cameras
_SUPPORTED = "the root must have position channels X, Y, Z, and every joint three rotation channels"


def read_bvh(path: Path, span: Span) -> PoseSequence:
    """Read a span of the motion in a BVH file.

    Args:
        path: Path of the file.
        span: Frames to read.

    Returns:
        Positions (T, 1, J, 3) of joints and limb ends in the length unit of the file, all with the
        confidence 1, and their layout, which carries the hierarchy of the file.

    Raises:
        ClipError: With reason `missing_file`, `too_large`, `unreadable`, `wrong_hierarchy` (braces
            that do not match or a name that occurs twice), `no_frames`, `implausible_rate`,
            `nan_frames`, or those of `resolve_frame_range`. The message names the file.
        InputError: If pybvh is not installed.
    """
    motion = _parse_bvh(path)
    fps = 1 / motion.frame_time if motion.frame_time else 0.0
    if not 0 < fps <= _MAX_FPS:
        text = f"states a frame time of {motion.frame_time:g} s ({fps:g} fps)"
        raise ClipError(f"`{path}` {text}, which is not a frame rate", "implausible_rate")
    with np.errstate(all="ignore"):  # values beyond float32 become infinite and are refused below
        x_TJC = motion.node_positions()
        start_frame, end_frame = resolve_frame_range(path, span, fps, len(x_TJC))
        x_TPJC = np.ascontiguousarray(x_TJC[start_frame:end_frame, None], np.float32)
    num_invalid_frames = int((~np.isfinite(x_TPJC)).any(axis=(1, 2, 3)).sum())
    if num_invalid_frames:
        text = f"has values that are not numbers in {num_invalid_frames} of {len(x_TPJC)} frames"
        raise ClipError(f"`{path}` {text}", "nan_frames")
    parents = [int(parent) for parent in motion.fk_topology.parent_idx]
    skeleton = build_point_skeleton("bvh", _name_points(motion.nodes, parents, path), parents)
    ones_TPJ = np.ones(x_TPJC.shape[:3], np.float32)
    return PoseSequence(x_TPJC, ones_TPJ, fps, skeleton.layout, has_confidence=False)


def _parse_bvh(path: Path) -> Any:
    """Parse a BVH file, and return the library's motion.

    Raises:
        ClipError: With reason `missing_file`, `too_large`, `unreadable`, `wrong_hierarchy` or
            `no_frames`.
        InputError: If pybvh is not installed.
    """
    try:
        from pybvh import read_bvh_file
    except ImportError:
        raise InputError(
            f"`{path}`: BVH files need the library pybvh; install it with"
            ' `pip install "kinesweep[bvh]"`'
        ) from None
    try:
        num_bytes = path.stat().st_size * _MEMORY_BYTES_PER_CHARACTER
        check_decoded_size(f"`{path}`", num_bytes)
        _check_text(path, path.read_text(encoding="utf-8"))
        with TemporaryDirectory() as folder, warnings.catch_warnings():
            # NumPy warns of files without numbers, which the library then refuses.
            warnings.simplefilter("ignore")
            # The library accepts no other spelling of the suffix.
            link = Path(folder) / f"motion{BVH_SUFFIX}"
            link.symlink_to(path.absolute())
            # The direction is not used; a given one is not guessed.
            return read_bvh_file(link, world_up="+y")
    except ClipError:
        raise
    except FileNotFoundError:
        raise ClipError(f"`{path}` does not exist", "missing_file") from None
    except Exception as error:  # damaged text raises many kinds of exceptions in the library
        # The library names the link; the message names the file itself.
        reason = re.sub(r",? (in|of) (file )?\S*motion\.bvh", "", format_one_line(error)).strip()
        advice = f" ({_SUPPORTED})" if "channel" in reason else ""
        raise ClipError(f"`{path}` cannot be read: {reason}{advice}", "unreadable") from None


def _check_text(path: Path, text: str) -> None:
    """Check what the library does not: that braces match, and that there are frames.

    Args:
        path: Path of the file, for messages.
        text: Content of the file.

    Raises:
        ClipError: With reason `wrong_hierarchy` or `no_frames`.
    """
    # The keyword is a line of its own; a joint may be called `MOTION_root`.
    hierarchy, *rest = re.split(r"^[ \t]*MOTION\b[ \t]*\r?$", text, maxsplit=1, flags=re.MULTILINE)
    motion = "".join(rest)
    if hierarchy.count("{") != hierarchy.count("}"):
        raise ClipError(
            f"`{path}` opens {hierarchy.count('{')} braces and closes {hierarchy.count('}')}: its"
            " hierarchy is cut off or damaged",
            "wrong_hierarchy",
        )
    if re.search(r"^\s*Frames:\s*0*\s*$", motion, re.MULTILINE):
        raise ClipError(f"`{path}` holds no frames", "no_frames")


def _name_points(nodes: Any, parents: list[int], path: Path) -> list[str]:
    """Name the points of a hierarchy: joints as in the file, ends after the joint they belong to.

    Args:
        nodes: Nodes of the library's motion, parents before children.
        parents: Index of each node's parent, `ROOT` for the root.
        path: Path of the file, for the message.

    Raises:
        ClipError: With reason `wrong_hierarchy` if two points have the same name.
    """
    names: list[str] = []
    for node, parent in zip(nodes, parents, strict=True):
        name = f"{names[parent]}_end" if node.is_end_site() else node.name
        # A joint may have several ends.
        number = 2
        while node.is_end_site() and name in names:
            name, number = f"{names[parent]}_end{number}", number + 1
        if name in names:
            raise ClipError(f"`{path}` has several joints called `{name}`", "wrong_hierarchy")
        names.append(name)
    return names
