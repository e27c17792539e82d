"""Replicas: one that is stuck, the places in a batch, and what does not fit or cannot run."""

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kinesweep.core.errors import InputError, ResourceError
from kinesweep.serving import service
from kinesweep.serving.accepted_inputs import AcceptedInputs
from kinesweep.serving.clip_request import RequestOptions
from kinesweep.serving.errors import RequestError
from kinesweep.serving.http.stream import FrameBuffer, StreamStart
from kinesweep.serving.inference import video_poses
from kinesweep.serving.inference.clip_translator import _apply_options
from kinesweep.serving.inference.streamed_media import make_streamed_input
from kinesweep.serving.inference.video_poses import find_pose_estimator, start_estimator
from kinesweep.serving.limits import BodyCounter, RequestGate, ServeLimits
from kinesweep.serving.replica import Replica, describe_batch
from kinesweep.serving.service import ServeRequest, _check_resources


def test_a_replica_whose_batch_never_ends_is_replaced() -> None:
    replica = object.__new__(Replica)  # without a model
    replica._stuck_after_s = 100.0
    for busy_since in (None, time.monotonic()):
        replica._busy_since = busy_since
        replica.check_health()
    replica._busy_since = time.monotonic() - 101
    with pytest.raises(RuntimeError, match="a batch has been running for 101 s"):
        replica.check_health()


def test_one_text_of_a_batch_stands_for_it_in_the_metrics() -> None:
    """The first text and not the first clip, whose error does not come with a batch."""
    refused = RequestError(400, "unusable_file", "garbage")
    first, second, third = describe_batch([refused, {"text": "a"}, {"text": "b"}], 0.25)
    assert first is refused
    assert isinstance(second, dict) and isinstance(third, dict)
    assert (second["batch"]["index"], third["batch"]["index"]) == (0, 1)
    assert second["batch"]["size"] == 3 and second["batch"]["seconds"] == 0.25


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_replicas": 3}, "3 replicas with 1 CPUs each need 3, but the cluster has 2"),
        ({"gpus": 0.25}, "each need 0.25, but the cluster has 0; lower `--replicas` or `--gpus`"),
    ],
)
def test_replicas_that_never_fit_are_refused(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    """Ray Serve would wait for more nodes, without a word."""
    monkeypatch.setattr(service.ray, "cluster_resources", lambda: {"CPU": 2.0})
    _check_resources(ServeRequest(Path("bundle"), num_replicas=2))
    with pytest.raises(ResourceError, match=said):
        _check_resources(replace(ServeRequest(Path("bundle")), **changes))


def test_a_token_is_not_part_of_the_text_of_a_request() -> None:
    assert "a-secret" not in repr(ServeRequest(Path("bundle"), token="a-secret-of-the-server"))


def test_a_server_installs_no_estimator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_poses, "has_environment", lambda *_: False)
    assert find_pose_estimator(None) is None and start_estimator(None) is None
    for find in (find_pose_estimator, start_estimator):
        with pytest.raises(InputError, match="`mediapipe` has no environment on this machine"):
            find("mediapipe")


def test_options_without_an_effect_are_refused() -> None:
    generation = SimpleNamespace(do_sample=False)
    recipe = SimpleNamespace(generation=generation)
    bundle: Any = SimpleNamespace(loaded=SimpleNamespace(recipe=recipe))
    for options in (RequestOptions(seed=1), RequestOptions(temperature=0.5)):
        with pytest.raises(InputError, match="no effect without `sample`"):
            _apply_options(bundle, options)


def test_frames_need_names_and_a_bundle_that_takes_them(bundle_dir: Path) -> None:
    inputs, limits = AcceptedInputs.read(bundle_dir), ServeLimits()
    counter = BodyCounter(RequestGate(limits))
    start = StreamStart(type="start", rate_hz=25)
    assert FrameBuffer(start, inputs, limits, counter).values_per_frame > 0
    ((name, schema),) = inputs.streams.items()
    nameless = replace(inputs, streams={name: replace(schema, layout=None)})
    parts = replace(inputs, sources={"left": inputs.sources["file"]})
    for unsuitable, error in ((nameless, "no_layout"), (parts, "no_stream")):
        with pytest.raises(RequestError, match=error):
            FrameBuffer(start, unsuitable, limits, counter)


def test_the_size_of_the_video_reaches_the_pose(bundle_dir: Path, tmp_path: Path) -> None:
    """Published keypoint sets are measured in units of it, and refuse a clip without."""
    inputs, limits = AcceptedInputs.read(bundle_dir), ServeLimits()
    start = StreamStart(type="start", rate_hz=25, frame_size=(640, 480))
    buffer = FrameBuffer(start, inputs, limits, BodyCounter(RequestGate(limits)))
    buffer.add(bytes(4 * buffer.values_per_frame))
    points = buffer.make_request().points
    assert points is not None
    made = make_streamed_input(points, inputs.sources["file"], tmp_path)
    assert made.read_media is not None and made.read_media().frame_size == (640, 480)
    for wrong in ([640], [0, 480], [640.5, 480], "640x480"):
        with pytest.raises(ValueError, match="frame_size"):
            StreamStart.model_validate({"type": "start", "rate_hz": 25, "frame_size": wrong})
