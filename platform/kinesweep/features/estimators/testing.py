"""`EstimatorContract`: conformance tests for estimators, which plug-ins inherit in their own suite.

    from kinesweep.features.estimators.testing import EstimatorContract

    class TestMine(EstimatorContract):
        name = "mine"
        video = Path("a.mp4")   # a video in which the estimator detects something

Requires pytest. The estimator runs as in `kinesweep estimate-poses`, in its own environment.
"""

import json
from pathlib import Path
from typing import ClassVar

import numpy as np

from kinesweep.features.estimators import EstimatorSpec, find_estimator
from kinesweep.features.estimators.subprocess_worker import EstimatorProcess
from kinesweep.sources.pose_format.pose_file import read_pose


class EstimatorContract:
    """A conformance suite; inherit from it in a class named `Test…` and set `name` and `video`.

    Attributes:
        name: Name of the entry point.
        video: Path of a short video.
        other: Path of another video that is estimated in between, to find state that is kept from
            one video to the next; None to use `video` again.
    """

    name: ClassVar[str]
    video: ClassVar[Path]
    other: ClassVar[Path | None] = None

    def test_entry_point_is_valid(self) -> None:
        """Check that the entry point names a class with a version and pinned requirements."""
        spec = find_estimator(self.name)
        assert spec.version and Path(spec.file).is_file()
        assert json.dumps(spec.requirements)
        unpinned = [item for item in spec.requirements if "==" not in item and "@" not in item]
        assert not unpinned, (
            f"pin these requirements, or poses may change with a release: {unpinned}"
        )

    def test_every_frame_has_a_pose(self, tmp_path: Path) -> None:
        """Check that every frame has all points, some are detected, and these are finite."""
        with EstimatorProcess(self._spec) as estimate:
            result = estimate(self.video, tmp_path / "a.pose")
        assert result["frames"] > 0 and result["fps"] > 0
        pose = read_pose(tmp_path / "a.pose")
        assert pose.fps == np.float32(result["fps"])
        assert len(pose.points_TPJC) == result["frames"]
        assert pose.layout.num_points == result["points"]
        detected_TPJ = pose.confidence_TPJ > 0
        assert detected_TPJ.any(), "no point was detected in any frame"
        assert np.isfinite(pose.points_TPJC[detected_TPJ]).all()

    def test_poses_do_not_depend_on_earlier_videos(self, tmp_path: Path) -> None:
        """Check that a video has the same poses in a new process and after another video."""
        with EstimatorProcess(self._spec) as estimate:
            estimate(self.video, tmp_path / "first.pose")
            estimate(self.other or self.video, tmp_path / "other.pose")
            estimate(self.video, tmp_path / "again.pose")
        with EstimatorProcess(self._spec) as estimate:
            estimate(self.video, tmp_path / "new.pose")
        contents = [(tmp_path / f"{name}.pose").read_bytes() for name in ("first", "again", "new")]
        assert contents[0] == contents[1], "poses depend on a video estimated before"
        assert contents[0] == contents[2], "poses differ between processes"

    @property
    def _spec(self) -> EstimatorSpec:
        """Return the specification of the estimator under test."""
        return find_estimator(self.name)
