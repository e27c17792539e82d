"""Clips of requests are translated as by `kinesweep translate`, whatever else is in their batch."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinesweep.export import Bundle
from kinesweep.serving.accepted_inputs import AcceptedInputs
from kinesweep.serving.clip_request import (
    ClipRequest,
    RequestOptions,
    StreamedPoints,
    UploadedFile,
)
from kinesweep.serving.errors import RequestError
from kinesweep.serving.inference.clip_translator import ClipTranslator
from kinesweep.serving.limits import ServeLimits
from kinesweep.sources import read_pose

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def bundle(bundle_dir: Path) -> Bundle:
    return Bundle.load(bundle_dir)


@pytest.fixture(scope="module")
def translator(bundle: Bundle) -> ClipTranslator:
    return ClipTranslator(bundle, ServeLimits(max_duration_s=20.0))


@pytest.fixture(scope="module")
def texts(bundle: Bundle, poses: list[Path]) -> list[str]:
    """Each file translated alone."""
    translated = [bundle.translate([file])[0] for file in poses]
    assert len(set(translated)) > 3
    return translated


def ask(file: Path | bytes, name: str = "clip.pose", **options: Any) -> ClipRequest:
    content = file if isinstance(file, bytes) else file.read_bytes()
    name = name if isinstance(file, bytes) else file.name
    return ClipRequest(RequestOptions(**options), (UploadedFile("file", name, content),))


def test_no_batch_changes_a_text(
    translator: ClipTranslator, poses: list[Path], texts: list[str]
) -> None:
    random.seed(0)
    for size in (1, 2, 5, 12):
        for _ in range(3):
            chosen = random.choices(range(len(poses)), k=size)
            results = translator.translate([ask(poses[index]) for index in chosen])
            assert [result["text"] for result in results] == [texts[index] for index in chosen]


def test_a_bad_clip_costs_no_other_its_text(
    translator: ClipTranslator, poses: list[Path], texts: list[str]
) -> None:
    cut = poses[1].read_bytes()[:-40]
    results = translator.translate(
        [ask(poses[0]), ask(b"garbage"), ask(cut), ask(poses[2], question="?"), ask(poses[3])]
    )
    assert [results[0]["text"], results[4]["text"]] == [texts[0], texts[3]]
    assert [(one.status, one.error) for one in results[1:4]] == [
        (400, "unusable_file"),
        (400, "unusable_file"),
        (422, "unusable_request"),
    ]
    assert all("kinesweep-serve" not in one.reason for one in results[1:4])
    assert results[1].reason.startswith("`clip.pose`")


@pytest.mark.parametrize("broken", ["compute_input_features", "build_prompt_tokens"])
def test_a_bug_in_one_clip_costs_no_other_its_text(
    bundle: Bundle,
    poses: list[Path],
    texts: list[str],
    monkeypatch: pytest.MonkeyPatch,
    broken: str,
) -> None:
    original = getattr(Bundle, broken)

    def fail_for_one(self: Bundle, item: Any) -> Any:
        if item.file.name == "bad.pose":
            raise ZeroDivisionError("a secret of the server")
        return original(self, item)

    monkeypatch.setattr(Bundle, broken, fail_for_one)
    bad = ClipRequest(RequestOptions(), (UploadedFile("file", "bad.pose", poses[1].read_bytes()),))
    translator = ClipTranslator(bundle, ServeLimits())
    first, refusal, last = translator.translate([ask(poses[0]), bad, ask(poses[2])])
    assert [first["text"], last["text"]] == [texts[0], texts[2]]
    assert (refusal.status, refusal.error) == (500, "internal")
    assert "secret" not in refusal.reason


def test_options_of_one_request_do_not_reach_another(
    translator: ClipTranslator, bundle: Bundle, poses: list[Path], texts: list[str]
) -> None:
    wide = bundle.with_generation(num_beams=5)
    greedy = bundle.with_generation(num_beams=1)
    results = translator.translate(
        [ask(poses[0]), ask(poses[1], num_beams=5), ask(poses[2], num_beams=1), ask(poses[3])]
    )
    assert [one["text"] for one in results] == [
        texts[0],
        wide.translate([poses[1]])[0],
        greedy.translate([poses[2]])[0],
        texts[3],
    ]


def test_draws_follow_the_name_of_the_file(
    translator: ClipTranslator, bundle: Bundle, poses: list[Path]
) -> None:
    drawn = bundle.with_generation(do_sample=True, num_beams=1, seed=3, temperature=2.0)
    options = {"sample": True, "seed": 3, "temperature": 2.0}
    results = translator.translate([ask(poses[0], **options), ask(poses[1], **options)] * 2)
    wanted = [drawn.translate([file])[0] for file in poses[:2]]
    assert [one["text"] for one in results] == wanted * 2
    (refusal,) = translator.translate([ask(poses[0], seed=3)])
    assert refusal.error == "unusable_request" and "sample" in refusal.reason


def test_alternatives_are_the_best_texts_with_their_scores(
    translator: ClipTranslator, poses: list[Path], bundle: Bundle
) -> None:
    wide = bundle.with_generation(num_beams=4)
    (result,) = translator.translate([ask(poses[0], num_beams=4, alternatives=4)])
    found = result["alternatives"]
    assert result["text"] == found[0]["text"] == wide.translate([poses[0]])[0]
    assert 1 < len(found) <= 4 and len({one["text"] for one in found}) == len(found)
    # With a length penalty of 1 beam search orders by the score.
    assert bundle.loaded.recipe.generation.length_penalty == 1
    scores = [one["score"] for one in found]
    assert scores == sorted(scores, reverse=True) and scores[0] < 0
    (refusal,) = translator.translate([ask(poses[0], num_beams=2, alternatives=3)])
    assert refusal.status == 422 and "num_beams" in refusal.reason


def test_attention_and_points_are_those_of_the_clip(
    translator: ClipTranslator, poses: list[Path], texts: list[str]
) -> None:
    (result,) = translator.translate([ask(poses[0], attention=True, skeleton=True)])
    assert result["text"] == texts[0]
    stream = result["attention"]["streams"]["pose"]
    weights = np.array(stream["weights"])
    assert weights.shape == (len(result["attention"]["tokens"]), len(stream["spans"]))
    assert (weights >= 0).all() and (weights.sum(axis=1) <= 1 + 1e-3).all() and weights.any()
    scene = result["skeleton"]["pose"]
    num_frames = len(scene["frames"])
    assert stream["spans"][-1][1] == num_frames
    assert result["duration_s"] == pytest.approx(num_frames / scene["rate_hz"], abs=1e-3)
    assert len(scene["frames"][0]) == len(scene["names"]) == len(scene["sides"]) == 178
    seen = [point for point in scene["frames"][0] if point]
    left, top, right, bottom = scene["box"]
    inside = [left - 99 <= x <= right + 99 and top - 99 <= y <= bottom + 99 for x, y in seen]
    assert seen and np.mean(inside) > 0.9


@pytest.mark.parametrize("has_confidence", [True, False])
def test_frames_one_by_one_are_the_file(
    translator: ClipTranslator, poses: list[Path], texts: list[str], has_confidence: bool
) -> None:
    for file, text in zip(poses[:4], texts, strict=False):
        pose = read_pose(file)
        points, confidence = pose.points_TPJC[:, 0].copy(), pose.confidence_TPJ[:, 0]
        if has_confidence:
            values = np.concatenate([points, confidence[..., None]], axis=2)
        else:
            points[confidence == 0] = np.nan
            values = points
        streamed = StreamedPoints(
            pose.fps, pose.layout, 3, has_confidence, values.astype("<f4").tobytes(), len(values)
        )
        (result,) = translator.translate([ClipRequest(RequestOptions(), points=streamed)])
        assert result["text"] == text


def test_long_clips_are_refused(bundle: Bundle, poses: list[Path]) -> None:
    (refusal,) = ClipTranslator(bundle, ServeLimits(max_duration_s=0.5)).translate([ask(poses[0])])
    assert (refusal.status, refusal.error) == (422, "clip_too_long")
    assert refusal.allowed == {"max_duration_s": 0.5}


def test_videos_need_an_estimator_of_poses(
    bundle: Bundle, bundle_dir: Path, poses: list[Path], texts: list[str], made: Path
) -> None:
    film = next((made / "corpus" / "films").rglob("*.mp4"))
    inputs = AcceptedInputs.read(bundle_dir)
    request = ask(film.read_bytes(), film.name)
    with pytest.raises(RequestError, match="not one of the kinds of files that `file` takes"):
        inputs.check_files(request.files)
    able = AcceptedInputs.read(bundle_dir, estimates_poses=True)
    able.check_files(request.files)
    assert able.takes_videos and not inputs.takes_videos

    def estimate(source: Path, out: Path) -> None:
        assert source.read_bytes() == film.read_bytes()
        out.write_bytes(poses[0].read_bytes())

    translator = ClipTranslator(bundle, ServeLimits(), estimate)
    (result,) = translator.translate([request])
    assert result["text"] == texts[0]


@pytest.mark.parametrize("options", [{"num_beams": 3}, {"alternatives": 2}])
def test_draws_exclude_beam_search(
    translator: ClipTranslator, poses: list[Path], options: dict[str, int]
) -> None:
    """The message names what to remove, not more beams."""
    (refused,) = translator.translate([ask(poses[0], sample=True, **options)])
    assert isinstance(refused, RequestError) and refused.status == 422
    assert "remove them or `sample`" in refused.reason and "\n" not in refused.reason
