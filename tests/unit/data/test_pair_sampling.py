"""Which clips and views meet, and which frames are drawn of them."""

from collections import Counter

import numpy as np
import pytest
import torch

from kinesweep.config.embedding_recipe import EmbeddingRecipe
from kinesweep.config.loading import validate_config
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.core.schema import StoreSchema, StreamSchema
from kinesweep.core.seeds import create_generator
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.data.pair_sampling import (
    PairBatches,
    draw_frame_indices,
    get_motion_label,
    group_by_motion,
    plan_pairs,
)
from kinesweep.store.format.index import ClipRecord
from records import memory_store

GLOSSES = ("jab", "jab", "cross", "jab", "hook", "cross")


def records(glosses=GLOSSES, frames: int = 9) -> list[ClipRecord]:
    return [
        ClipRecord(Clip(f"c{n}", "train", "", gloss=gloss, order=n), {"pose": frames + n})
        for n, gloss in enumerate(glosses)
    ]


def stream(found=None, layout: PointLayout | None = None, **changes) -> PairBatches:
    """Frames are `(clip's number, frame's number)`."""
    found = records() if found is None else found
    plain = {
        "name": "pairs",
        "source": {"kind": "pose_tsv", "train": "train.tsv"},
        "batch": {"batch_size": 4, "frames": 5},
        "embedding": {"kind": "tcc"},
        **changes,
    }
    store = memory_store(
        *found,
        features=lambda record: {
            "pose": np.stack(
                [
                    np.full(record.lengths["pose"], record.clip.order),
                    np.arange(record.lengths["pose"]),
                ],
                axis=1,
            ).astype(np.float16)
        },
    )
    store.schema = StoreSchema({"pose": StreamSchema(2, 25.0, "float16", layout)})
    return PairBatches(store, validate_config(EmbeddingRecipe, plain, "the recipe"), "pose")


def test_kinds() -> None:
    alone = Clip("a", "train", "")
    learner = Clip("b", "train", "", reference="a")
    assert get_motion_label(alone) == get_motion_label(learner) == "a"
    assert get_motion_label(Clip("c", "train", "", gloss="jab", reference="a")) == "jab"
    assert group_by_motion(records()) == [[0, 1, 3], [2, 5]]


def test_every_clip_meets_one_of_its_kind() -> None:
    kinds = [[0, 1, 3], [2, 5], list(range(6, 16))]
    seen = set()
    for epoch in range(20):
        pairs = plan_pairs(kinds, 3, epoch)
        assert len(pairs) == 2 + 1 + 5
        count = Counter(place for pair in pairs for place in pair)
        assert sorted(count) == [0, 1, 2, 3, *range(5, 16)]
        assert sorted(count.values()) == [1] * 14 + [2]
        assert all(a != b and any({a, b} <= set(places) for places in kinds) for a, b in pairs)
        seen |= {frozenset(pair) for pair in pairs}
    assert len(seen) > 30, "partners change from epoch to epoch"
    assert plan_pairs(kinds, 3, 4) == plan_pairs(kinds, 3, 4) != plan_pairs(kinds, 4, 4)


def test_frames_are_drawn_in_order() -> None:
    rng = create_generator(0)
    for frames in (1, 2, 5, 40):
        for _ in range(50):
            drawn = draw_frame_indices(frames, 8, 0.6, rng)
            assert (np.diff(drawn) > 0).all()
            assert drawn[0] >= 0 and drawn[-1] < frames
            assert len(drawn) <= 8
            assert len(drawn) >= min(8, round(0.6 * frames))
    assert list(draw_frame_indices(5, 8, 1.0, rng)) == [0, 1, 2, 3, 4]


def test_pairs_are_two_clips_of_a_kind() -> None:
    batches = stream()
    assert batches.num_unpaired_clips == 1  # the only hook
    seen = set()
    for step in range(8):
        one, other = batches(step)
        assert one.x_BTD.dtype == torch.float32
        for side in (one, other):
            assert torch.equal(side.x_BTD[..., 1], side.frame_index_BT)
            assert side.mask_BT.all() and side.x_BTD.shape[1] == 5
        for a, b in zip(one.x_BTD[:, 0, 0].int(), other.x_BTD[:, 0, 0].int(), strict=True):
            assert a != b and GLOSSES[a] == GLOSSES[b]
            seen |= {int(a), int(b)}
    assert seen == {0, 1, 2, 3, 5}


def test_views_are_of_one_clip_and_differ() -> None:
    batches = stream(embedding={"kind": "carl"}, batch={"batch_size": 4, "frames": 30})
    assert batches.num_unpaired_clips == 0
    one, other = batches(0)
    assert torch.equal(one.x_BTD[:, 0, 0], other.x_BTD[:, 0, 0])
    assert not torch.equal(one.mask_BT.sum(1), other.mask_BT.sum(1))
    for side in (one, other):
        assert torch.equal(side.x_BTD[..., 1], side.frame_index_BT)
        assert not side.x_BTD[~side.mask_BT].any()
        frames = side.mask_BT.sum(1)
        assert (frames >= (0.6 * (9 + side.x_BTD[:, 0, 0])).floor()).all()
    views = {}
    for step in range(8):  # four epochs
        for side in batches(step):
            for x_TD, mask_T in zip(side.x_BTD, side.mask_BT, strict=True):
                views.setdefault(int(x_TD[0, 0]), set()).add(tuple(x_TD[mask_T, 1].tolist()))
    assert all(len(found) > 4 for found in views.values()), "each epoch has views of its own"
    sizes = [len(batches(step)[0].x_BTD) for step in range(4)]
    assert sizes == [4, 2, 4, 2]  # six clips an epoch


def test_a_batch_depends_on_its_step_alone() -> None:
    first = stream()
    there = [first(step) for step in range(6)]
    second = stream()
    back = [second(step) for step in reversed(range(6))][::-1]
    for (a, b), (c, d) in zip(there, back, strict=True):
        assert torch.equal(a.x_BTD, c.x_BTD) and torch.equal(b.x_BTD, d.x_BTD)
    other = stream(training={"seed": 1})
    assert any(not torch.equal(other(step)[0].x_BTD, there[step][0].x_BTD) for step in range(6))


def test_points_vary_from_view_to_view() -> None:
    noise = {"batch_size": 4, "frames": 5, "augmentation": {"noise": 0.1}}
    with pytest.raises(InputError, match="the stream `pose` holds none"):
        stream(embedding={"kind": "carl"}, batch=noise)
    layout = PointLayout((("BODY", ("elbow",)),))
    one, other = stream(layout=layout, embedding={"kind": "carl"}, batch=noise)(0)
    for side in (one, other):
        off_BT = side.x_BTD[..., 1] - side.frame_index_BT
        assert off_BT[side.frame_index_BT > 0].all() and off_BT.abs().max() < 1
    assert not torch.equal(one.x_BTD[:, 0, 0], other.x_BTD[:, 0, 0])
    again, _ = stream(layout=layout, embedding={"kind": "carl"}, batch=noise)(0)
    assert torch.equal(one.x_BTD, again.x_BTD)


def test_nothing_to_pair() -> None:
    with pytest.raises(InputError, match=r"No two of the 2 clips of train show the same motion"):
        stream(records(("jab", "hook")))
