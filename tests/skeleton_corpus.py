"""A corpus of skeletons in tables, its source, and why a clip of it cannot be used."""

from pathlib import Path
from typing import Any

import pytest

from kinesweep.config.loading import validate_config
from kinesweep.config.recipe.skeletons import SkeletonsConfig
from kinesweep.core.errors import ClipError
from kinesweep.sources import build_source
from kinesweep.sources.skeletons.skeletons import SkeletonsSource

HEADER = "id index start end ref1 ref2 reference signer"
ROWS = (
    "a1 2 0 0 Lift_it. Higher. b1 ann",
    "a2 0 1 3 Turn. - 3 ann",
    "b1 1 0 2 Good. Well_done. - ben",
)


def config(folder: Path, **changes: Any) -> SkeletonsConfig:
    plain = {"kind": "skeletons", "train": str(folder / "train.tsv"), "fps": 20}
    return validate_config(SkeletonsConfig, {**plain, **changes}, "test")


def source(folder: Path, **changes: Any) -> SkeletonsSource:
    found = build_source(config(folder, **changes))
    assert isinstance(found, SkeletonsSource)
    return found


def reason(folder: Path, clip_id: str, **changes: Any) -> str:
    """Why a clip cannot be used; the same word for reading, checking and hashing."""
    made = source(folder, **changes)
    (clip,) = [clip for clip in made.list_clips("train") if clip.id == clip_id]
    with pytest.raises(ClipError) as caught:
        made.read(clip)
    assert str(caught.value).startswith(clip.row)
    content = made.compute_digests([clip])[clip]
    assert isinstance(content, ClipError) and content.reason == caught.value.reason
    assert [p.reason for p in made.check_clips() if p.clip_id == clip_id] == [content.reason]
    return caught.value.reason
