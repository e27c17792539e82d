"""`EstimatorContract`: what every estimator must do, as tests that a plug-in's own suite inherits.

    from kinesweep.features.estimators.conformance import EstimatorContract

    class TestMine(EstimatorContract):
        name = "mine"
        video = Path("a.mp4")   # some frames that the estimator understands

Needs pytest. The estimator runs as it does in `kinesweep estimate`, in its own environment.
"""

import json
from pathlib import Path
from typing import ClassVar

import numpy as np

from kinesweep.features.estimators import EstimatorSpec, find_estimator
from kinesweep.features.estimators.process import EstimatorProcess
from kinesweep.sources.pose_file import read_pose


class EstimatorContract:
    """Inherit it in a class whose name begins with `Test`, and set both attributes.

    Attributes:
        name: of the entry point.
        video: a short one.
        other: another one, for what must not be remembered; default: the same.
    """

    name: ClassVar[str]
    video: ClassVar[Path]
    other: ClassVar[Path | None] = None

    def test_it_is_found_by_its_name(self) -> None:
        """The entry point names a class with a version, and requirements that are pinned."""
        spec = find_estimator(self.name)
        assert spec.version and Path(spec.file).is_file()
        assert json.dumps(spec.requirements)
        loose = [item for item in spec.requirements if "==" not in item and "@" not in item]
        assert not loose, f"poses would change with the next version of {loose}"

    def test_a_pose_a_frame(self, tmp_path: Path) -> None:
        """Every frame has its points, finite where they were found, none of another file."""
        with EstimatorProcess(self._spec) as estimate:
            made = estimate(self.video, tmp_path / "a.pose")
        assert made["frames"] > 0 and made["fps"] > 0
        pose = read_pose(tmp_path / "a.pose")
        assert pose.fps == np.float32(made["fps"])
        assert len(pose.points_TPJC) == made["frames"]
        assert pose.layout.num_points == made["points"]
        found_TPJ = pose.confidence_TPJ > 0
        assert found_TPJ.any(), "nothing was found in any frame"
        assert np.isfinite(pose.points_TPJC[found_TPJ]).all()

    def test_the_same_poses_whatever_came_before(self, tmp_path: Path) -> None:
        """A file's poses are the same in a new process and after another video."""
        with EstimatorProcess(self._spec) as estimate:
            estimate(self.video, tmp_path / "first.pose")
            estimate(self.other or self.video, tmp_path / "other.pose")
            estimate(self.video, tmp_path / "again.pose")
        with EstimatorProcess(self._spec) as estimate:
            estimate(self.video, tmp_path / "new.pose")
        whole = [(tmp_path / f"{name}.pose").read_bytes() for name in ("first", "again", "new")]
        assert whole[0] == whole[1], "it remembers what it saw before"
        assert whole[0] == whole[2], "another process gives other poses"

    @property
    def _spec(self) -> EstimatorSpec:
        return find_estimator(self.name)
