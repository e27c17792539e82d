"""`EstimatorContract` on an estimator of somebody else's: an installed package with an entry point.

MediaPipe passes the same contract on real videos, in `tests/real`.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from films import TOY, write_video
from kinesweep.features.estimators.testing import EstimatorContract


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What pip leaves of a package with an entry point."""
    site = tmp_path_factory.mktemp("site")
    (site / "brightest_point.py").write_text(TOY)
    facts = site / "brightest_point-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: brightest-point\nVersion: 1.0\n")
    entry = "[kinesweep.estimators]\nbrightest = brightest_point:Brightest\n"
    (facts / "entry_points.txt").write_text(entry)
    TestBrightest.video = write_video(site / "a.mp4")
    TestBrightest.other = write_video(site / "b.mp4", 9)
    sys.path.insert(0, str(site))
    yield site
    sys.path.remove(str(site))


class TestBrightest(EstimatorContract):
    name = "brightest"
