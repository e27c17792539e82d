"""The corpus of skeletons that the tests of this folder read."""

from pathlib import Path

import pytest

from skeleton_corpus import HEADER, ROWS
from skeletons import motions, write_pack, write_rows


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Three clips, a pack of five motions called like the table."""
    write_pack(tmp_path / "train.npz", motions(5))
    write_rows(tmp_path / "train.tsv", HEADER, ROWS)
    return tmp_path
