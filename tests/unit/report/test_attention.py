"""The attention page holds what the model computed, in a file that needs nothing else."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from attended import HEADS, LAYERS, TOKENS, frames, made_up
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.core.skeleton.skeleton import SMPL_22
from kinesweep.evaluation.attention_inference import GeneratedToken, TranslationWithAttention
from kinesweep.models.attention_maps import AttentionMap, AttentionSpan
from kinesweep.models.encoders.frame_encoder import SourceSpan
from kinesweep.report.attention import AttentionPage, build_attention_data, write_attention_html
from kinesweep.report.pose_scene import build_scene

EVIL = "</script><script>alert(1)</script>&amp;"


def numbers(text: str, *shape: int) -> NDArray[np.float64]:
    """What the page's script makes of packed weights."""
    return np.frombuffer(base64.b64decode(text), "<u2").reshape(shape) / 65535


def test_weights_and_shares_are_those_of_the_model() -> None:
    places = [
        AttentionSpan("prompt", 0, 2),
        AttentionSpan("separator", 2, 3, "skeleton"),
        frames(3, 5, 2),
    ]
    places += [AttentionSpan("separator", 8, 9, "video"), frames(9, 3, 1, "video")]
    places += [
        AttentionSpan("after", 12, 12),
        AttentionSpan("end", 12, 13),
        AttentionSpan("text", 13, 16),
    ]
    page = made_up(places)
    data, weights = (
        build_attention_data(page),
        page.translation.attention.weights_AHLM.double().numpy(),
    )
    one, other = data["tracks"]
    own = numbers(one["weights"], LAYERS, HEADS, TOKENS, 5)
    np.testing.assert_allclose(own, weights[..., 3:8], atol=1e-5)
    np.testing.assert_allclose(
        numbers(other["weights"], LAYERS, HEADS, TOKENS, 3), weights[..., 9:12], atol=1e-5
    )
    assert one["spans"] == [[0, 2], [2, 4], [4, 6], [6, 8], [8, 10]]
    assert (one["stream"], one["frames"], one["rate"]) == ("skeleton", 10, 20.0)
    named = {g["name"]: numbers(g["weights"], LAYERS, HEADS, TOKENS) for g in data["groups"]}
    assert list(named) == ["prompt", "separators", "end of the input", "text so far"]
    np.testing.assert_allclose(named["separators"], weights[..., 2] + weights[..., 8], atol=1e-5)
    every = sum(named.values()) + own.sum(-1)
    every = every + numbers(other["weights"], LAYERS, HEADS, TOKENS, 3).sum(-1)
    np.testing.assert_allclose(every, 1, atol=2e-4)  # eight shares, each rounded by 1 in 131,070
    assert data["tokens"][0] == {"text": "de", "forced": True}


def test_joints_and_frames_of_one_encoder_are_apart() -> None:
    joints = [SourceSpan(0, 10, joint) for joint in range(22)]
    both = AttentionSpan("stream", 0, 27, "skeleton", (*frames(0, 5, 2).source_spans, *joints))
    page = made_up([both, AttentionSpan("end", 27, 28)], joints=True)
    data, weights = (
        build_attention_data(page),
        page.translation.attention.weights_AHLM.double().numpy(),
    )
    assert [track["kind"] for track in data["tracks"]] == ["frames", "joints"]
    assert data["tracks"][1]["joints"] == list(range(22))
    for track, own in zip(data["tracks"], (weights[..., :5], weights[..., 5:27]), strict=True):
        np.testing.assert_allclose(numbers(track["weights"], *own.shape), own, atol=1e-5)
    (scene,) = data["scenes"]
    nodes = page.translation.attention.joint_weights
    held = scene["attention"]
    back = numbers(held["values"], 5, 22) * held["largest"]
    np.testing.assert_allclose(back, nodes["skeleton"].numpy(), atol=2e-3)


def test_points_come_back_and_lost_ones_are_lost() -> None:
    page = made_up([frames(0, 5, 2)])
    (scene,) = build_attention_data(page)["scenes"]
    points = np.frombuffer(base64.b64decode(scene["points"]), "<i2").reshape(scene["shape"])
    assert (points[2, 7] == -32768).all() and (points != -32768).sum() == 10 * 22 * 3 - 3
    own = page.scenes[0].points_TJC
    kept = points[page.scenes[0].detected_TJ] / 8000 * np.abs(own).max()
    np.testing.assert_allclose(kept, own[page.scenes[0].detected_TJ], atol=1e-4)


def test_a_misplaced_point_does_not_blur_the_rest() -> None:
    """Points are whole numbers; one at 100,000 would leave all others at 0."""
    page = made_up([frames(0, 5, 2)])
    page.scenes[0].points_TJC[4, 3] = 1e5
    (scene,) = build_attention_data(page)["scenes"]
    points = np.frombuffer(base64.b64decode(scene["points"]), "<i2").reshape(10, 22, 3)
    assert len(np.unique(points[0])) > 50


def test_a_page_of_100_frames_stays_small(tmp_path: Path) -> None:
    """All 144 heads of a T5-base, 30 tokens, 133 points."""
    torch.manual_seed(0)
    weights = torch.softmax(torch.randn(12, 12, 30, 110), dim=-1)
    places = (AttentionSpan("prompt", 0, 9), frames(9, 100, 1), AttentionSpan("end", 109, 110))
    tokens = tuple(GeneratedToken(n, " word", False) for n in range(30))
    scene = build_scene("s", np.random.rand(100, 66).astype(np.float32), SMPL_22.layout, 25.0)
    attended = TranslationWithAttention("word " * 30, tokens, AttentionMap(weights, places))
    page = AttentionPage("c", "m", attended, {"skeleton": 25.0}, {"skeleton": 100}, [scene] * 6)
    assert write_attention_html(tmp_path / "a.html", page).stat().st_size < 2e6


def test_a_long_clip_is_summed_thinned_and_said_so(tmp_path: Path) -> None:
    """3,000 frames of 543 points: nothing of the weights is lost, a page can be opened."""
    torch.manual_seed(0)
    weights = torch.softmax(torch.randn(6, 8, 40, 3001), dim=-1)
    places = (AttentionSpan("prompt", 0, 1), frames(1, 3000, 1))
    tokens = tuple(GeneratedToken(n, " word", False) for n in range(40))
    layout = PointLayout((("FACE", tuple(map(str, range(543)))),))
    x_TD = np.random.default_rng(0).random((3000, 1629), np.float32)
    scene = build_scene("skeleton", x_TD, layout, 25.0)
    attended = TranslationWithAttention("word", tokens, AttentionMap(weights, places))
    page = AttentionPage("c", "m", attended, {"skeleton": 25.0}, {"skeleton": 3000}, [scene])
    data = build_attention_data(page)
    (track,), (drawn,) = data["tracks"], data["scenes"]
    assert (track["summed"], drawn["every"], drawn["shape"][0]) == (3, 2, 3000)
    assert track["spans"][0] == [0, 3] and track["spans"][-1] == [2997, 3000]
    summed = numbers(track["weights"], 6, 8, 40, 1000)
    wanted = weights[..., 1:].unflatten(-1, (1000, 3)).sum(-1)
    np.testing.assert_allclose(summed, wanted, atol=1e-5)
    points = np.frombuffer(base64.b64decode(drawn["points"]), "<i2").reshape(1500, 543, 3)
    np.testing.assert_allclose(points[700] / 8000, scene.points_TJC[1400], atol=1e-3)
    text = write_attention_html(tmp_path / "a.html", page).read_text()
    assert len(text) < 20e6
    assert (
        "sum of 3 neighboring vectors" in text
        and "only one frame in 2 of `skeleton` is drawn" in text
    )


def test_it_is_one_file_and_texts_cannot_break_out(tmp_path: Path) -> None:
    page = write_attention_html(tmp_path / "new/a.html", made_up([frames(0, 5, 2)], text=EVIL))
    text = page.read_text()
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)
    assert "@import" not in text and "url(" not in text and "<script>alert" not in text
    found = re.search(r'<script id="data"[^>]*>(.*?)</script>', text, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    assert data["tokens"][-1]["text"] == EVIL[:9]
    assert [path.name for path in page.parent.iterdir()] == ["a.html"]


@pytest.mark.parametrize("streams", [[], ["skeleton"]])
def test_a_clip_without_points_has_a_page(tmp_path: Path, streams: list[str]) -> None:
    page = made_up([frames(0, 3, 1, "video")])
    bare = AttentionPage(page.clip, page.model, page.translation, page.rates_hz, page.lengths)
    assert build_attention_data(bare)["scenes"] == []
    assert write_attention_html(tmp_path / "a.html", bare).is_file()
