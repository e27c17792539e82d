"""BVH files of a small hierarchy, whose joints turn in different orders; by code."""

from pathlib import Path
from typing import Any

import numpy as np

TREE = """\
HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT LeftArm
  {
    OFFSET 2 0 0
    CHANNELS 3 Xrotation Zrotation Yrotation
    End Site
    {
      OFFSET 1 0 0
    }
  }
  JOINT RightArm
  {
    OFFSET -2 0 0
    CHANNELS 3 Yrotation Xrotation Zrotation
    JOINT RightHand
    {
      OFFSET -1 0.5 0
      CHANNELS 3 Zrotation Yrotation Xrotation
      End Site
      {
        OFFSET 0 0 3
      }
    }
  }
}
"""


def write_bvh(path: Path, frames: Any, tree: str = TREE, frame_time: object = 0.04) -> Path:
    rows = "\n".join(" ".join(f"{value:.6f}" for value in row) for row in np.asarray(frames))
    head = f"MOTION\nFrames: {len(frames)}\nFrame Time: {frame_time}\n"
    path.write_text(f"{tree}{head}{rows}\n")
    return path
