"""Published corpora of motions with captions: their points, frame rates and limits of lengths.

HumanML3D and KIT-ML have the same layout: a folder of joints, a folder of feature vectors, a folder
of texts and lists of ids. The limits are those of the published data loaders, which read motions of
at least 40 (KIT-ML: 24) and less than 200 frames.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

TextForm = Literal["captions", "words"]
MotionFeatures = Literal["joints", "vecs"]

MAX_FRAMES = 199
"""Longest motion that the published data loaders read, at either frame rate."""
FOLDERS: Mapping[MotionFeatures, str] = {"joints": "new_joints", "vecs": "new_joint_vecs"}
"""Kind of features → folder of their files."""
LIST_NAMES = {"train": "train.txt", "validation": "val.txt", "test": "test.txt"}
"""Split → list of its ids. `all.txt` and `train_val.txt` repeat these lists and are not read."""


@dataclass(frozen=True)
class MotionCorpus:
    """A published corpus of motions with captions.

    Attributes:
        skeleton: Name of the skeleton of its joints.
        num_points: Number of joints, J.
        num_features: Number of values of a feature vector, D = 12 J - 1.
        fps: Frame rate in frames per second.
        min_frames: Shortest motion that the published data loaders read.
    """

    skeleton: str
    num_points: int
    num_features: int
    fps: float
    min_frames: int


MOTION_CORPORA: Mapping[str, MotionCorpus] = {
    "humanml3d": MotionCorpus("humanml3d_22", 22, 263, fps=20, min_frames=40),
    "kit_ml": MotionCorpus("kit_ml_21", 21, 251, fps=12.5, min_frames=24),
}
"""Name of a corpus in commands → corpus."""


@dataclass(frozen=True)
class MotionSettings:
    """Choices of a preparation.

    Attributes:
        min_frames: Number of frames of the shortest clip; None: that of the corpus.
        max_frames: Number of frames of the longest clip and of the longest motion.
        mirrored: Whether mirrored motions (`M000001`) are clips.
        texts: Texts of the clips: captions as they were written, or the words of their tokens,
            where nouns and verbs are lemmas and punctuation is left out.
        max_references: Number of texts that a clip of validation and test has at most; None: all.
        features: Files of the clips: joints, or feature vectors.
    """

    min_frames: int | None = None
    max_frames: int = MAX_FRAMES
    mirrored: bool = True
    texts: TextForm = "captions"
    max_references: int | None = None
    features: MotionFeatures = "joints"
