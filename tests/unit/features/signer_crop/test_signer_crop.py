"""Frames cropped around the signer equal a crop by hand; detectors, and clips without a signer."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from films import pictures, write_pictures, write_video
from frames import frames_recipe
from joints import blocks, write_frames
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.features.frames import FramesFeaturesConfig
from kinesweep.config.recipe.video import VideoFeaturesConfig
from kinesweep.core.errors import ClipError, ConfigError, InputError
from kinesweep.core.units import Span
from kinesweep.core.video_files import VideoSegment
from kinesweep.features import build_features
from kinesweep.features.signer_crop import detection
from kinesweep.features.signer_crop.detection import select_signer
from kinesweep.features.signer_crop.warnings import find_signer_warnings
from kinesweep.features.video_frames import open_frames
from kinesweep.pipelines.corpus_check import check_corpus
from kinesweep.store.extraction.build import extract_locally
from vision import follow_block, yolos

FPS = 25
NONE = {"left": 0, "right": 0, "up": 0, "down": 0}
SMALL = {"outliers": 0, "expand": NONE}


def cut(frame: NDArray[np.uint8], left: int, top: int, side: int) -> NDArray[np.uint8]:
    """A square by hand: a frame with black all around, and indices."""
    wide = np.pad(frame, ((99, 99), (99, 99), (0, 0)))
    return wide[top + 99 : top + 99 + side, left + 99 : left + 99 + side]


def frames_of(segment: VideoSegment, size: int, **crop: Any) -> NDArray[np.uint8]:
    config = FramesFeaturesConfig(kind="frames", size=size, target_fps=FPS, crop={**SMALL, **crop})
    features = build_features(config).compute_features(segment)["video"]
    assert features.frame_size == size
    return features.x_TD.reshape(-1, size, size, 3)


def test_frames_equal_a_crop_by_hand(tmp_path: Path) -> None:
    """Points at ±5.7 about (4, 12), (14, 12) and (4, 22), which go right by two pixels a frame."""
    folder = write_pictures(tmp_path / "a", 12)
    pose = follow_block(tmp_path / "a.pose", 12)
    left, right = 0, 14 + 22 + 5.7  # the leftmost point is outside of the first frame
    top, bottom = 12 - 5.7, 22 + 5.7
    side = int(right - left + 0.5)
    x, y = (left + right) / 2, (top + bottom) / 2
    corner = int(np.floor(x - side / 2 + 0.5)), int(np.floor(y - side / 2 + 0.5))
    segment = VideoSegment(folder, fps=FPS, pose_path=pose)
    found = frames_of(segment, side)
    wanted = [cut(picture, *corner, side) for picture in pictures(12)]
    np.testing.assert_array_equal(found, wanted)
    # A part of the video has the square of its own frames, and video features the same pixels.
    span = VideoSegment(folder, Span.from_frames(6, 9), FPS, pose)
    left, right = 4 + 12 - 5.7, 14 + 16 + 5.7
    side = int(right - left + 0.5)
    corner = tuple(  # type: ignore[assignment]
        int(np.floor(mid - side / 2 + 0.5)) for mid in ((left + right) / 2, y)
    )
    part = frames_of(span, side)
    np.testing.assert_array_equal(part, [cut(p, *corner, side) for p in pictures(12)[6:9]])
    encoder = {"kind": "hf_vision", "pretrained": "x"}
    config = VideoFeaturesConfig.model_validate({"encoder": encoder, "crop": SMALL})
    np.testing.assert_array_equal(list(open_frames(span, config, side)), part)
    both = config.model_copy(update={"crops": ("whole", "face")})
    (first, *_) = open_frames(span, both, side)
    np.testing.assert_array_equal(first[:, :side], part[0])
    assert first.shape == (side, 2 * side, 3)


def test_a_square_of_the_face_alone(tmp_path: Path) -> None:
    """Medians of 0, 0.3 and of 9.7, 11.7 to the right; 6.3 to 17.7 and a tenth downwards."""
    folder = write_pictures(tmp_path / "a", 2)
    pose = follow_block(tmp_path / "a.pose", 2)
    segment = VideoSegment(folder, fps=FPS, pose_path=pose)
    changes = {"points": "face", "over_frames": "median", "expand": {**NONE, "down": 0.1}}
    found = frames_of(segment, 13, **changes)
    np.testing.assert_array_equal(found, [cut(p, -1, 6, 13) for p in pictures(2)])
    shifted = frames_of(segment, 13, **changes, outside="shift")
    np.testing.assert_array_equal(shifted, [cut(p, 0, 6, 13) for p in pictures(2)])


def test_a_clip_without_a_signer(tmp_path: Path) -> None:
    from pose_format import Pose

    folder = write_pictures(tmp_path / "a", 4)
    path = follow_block(tmp_path / "a.pose", 4)
    pose = Pose.read(path.read_bytes())
    pose.body.confidence[1:] = 0
    with path.open("wb") as file:
        pose.write(file)
    segment = VideoSegment(folder, fps=FPS, pose_path=path)
    assert frames_of(segment, 16, min_found=0.25).shape == (4, 16, 16, 3)
    with pytest.raises(
        ClipError, match=r"in 1 of 4 frames, of which .*min_found. asks for 50%"
    ) as c:
        frames_of(segment, 16, min_found=0.5)
    assert c.value.reason == "no_signer"
    whole = frames_of(segment, 48, min_found=0.5, missing="whole")
    np.testing.assert_array_equal(whole, [p[:, 8:56] for p in pictures(4)])
    center = frames_of(segment, 24, min_found=0.5, missing="center")
    np.testing.assert_array_equal(center, [p[12:36, 20:44] for p in pictures(4)])
    config = FramesFeaturesConfig(kind="frames", crop={"min_found": 0.5, "missing": "whole"}).crop
    ((kind, text),) = find_signer_warnings(segment, config)
    assert kind == "no_signer" and "its whole frames are used" in text


def test_a_detector_of_hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its boxes are those of the model itself; they are kept, and read again without the model."""
    import torch
    import transformers as hf

    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "home"))
    model_dir = yolos(tmp_path / "yolos")
    film = write_frames(tmp_path / "a", blocks([4, 8, 12, 16, 20, 24]))
    detector = {"kind": "hf_detector", "pretrained": str(model_dir), "short_side": 48}
    detector |= {"threshold": 0.0, "every_s": 0.08}
    segment = VideoSegment(film, fps=FPS)
    found = frames_of(segment, 16, detector=detector)
    model = hf.YolosForObjectDetection.from_pretrained(model_dir).eval()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    detections = []
    for frame in blocks([4, 12, 20]):
        pixels = ((torch.from_numpy(frame) / 255 - mean) / std).permute(2, 0, 1)[None]
        with torch.no_grad():
            output = model(pixels)
        x, y, w, h = output.pred_boxes[0].double().unbind(1)
        corners = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1).clamp(0, 1)
        scores = output.logits[0].softmax(-1)[:, 1:2]
        boxes = torch.cat([corners * torch.tensor([64, 48, 64, 48]), scores], 1).numpy()
        detections.append(boxes[np.argsort(-boxes[:, 4])])
    boxes = select_signer(detections, 0.0)
    edges = [*boxes[:, :2].min(0), *boxes[:, 2:].max(0)]
    side = max(8, int(max(edges[2] - edges[0], edges[3] - edges[1]) + 0.5))
    corner = [int(np.floor((edges[i] + edges[i + 2]) / 2 - side / 2 + 0.5)) for i in (0, 1)]
    exact = frames_of(segment, side, detector=detector)
    wanted = [cut(frame, *corner, side) for frame in blocks([4, 8, 12, 16, 20, 24])]
    np.testing.assert_array_equal(exact, wanted)
    monkeypatch.setattr(detection, "build_detector", None)
    np.testing.assert_array_equal(frames_of(segment, 16, detector=detector), found)
    with pytest.raises(InputError, match=r"labels. is signer, but .* detects car, person"):
        monkeypatch.undo()
        monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "home"))
        frames_of(segment, 16, detector={**detector, "labels": ["signer"]})


PLUGIN = """
import numpy as np


def bounds(rows, columns):
    if len(rows):
        yield columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


class Brightest:
    version = "1"

    def __init__(self, color):
        self.color = color

    def __call__(self, images):
        answer = []
        for image in images:
            rows, columns = np.nonzero(image[..., self.color] > 128)
            found = [[*point, 0.9] for point in bounds(rows, columns)]
            answer.append(np.array(found, float).reshape(-1, 5))
        return answer
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package with the detector `brightest`, and a state folder."""
    site = tmp_path / "site"
    (site / "brightest-1.0.dist-info").mkdir(parents=True)
    (site / "brightest_detector.py").write_text(PLUGIN)
    info = site / "brightest-1.0.dist-info"
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brightest\nVersion: 1.0\n")
    entry = "[kinesweep.detectors]\nbrightest = brightest_detector:Brightest\n"
    (info / "entry_points.txt").write_text(entry)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "home"))
    sys.modules.pop("brightest_detector", None)
    return site


def test_a_detector_of_a_package(installed: Path, tmp_path: Path) -> None:
    film = write_frames(tmp_path / "a", blocks([None, 6, 8, 10], [40, 40, 40, 40]))
    detector = {"kind": "plugin", "name": "brightest", "arguments": {"color": 0}, "every_s": 0.04}
    segment = VideoSegment(film, fps=FPS)
    frames = blocks([None, 6, 8, 10], [40, 40, 40, 40])
    found = frames_of(segment, 12, detector=detector)
    np.testing.assert_array_equal(found, [cut(f, 6, 8, 12) for f in frames])  # 6 … 18 × 10 … 18
    with pytest.raises(InputError, match="no detector `brightes`; did you mean `brightest`"):
        frames_of(segment, 12, detector={**detector, "name": "brightes"})


def test_the_largest_person_over_all_frames_is_the_signer() -> None:
    """A bystander is larger in one frame, an interpreter in a corner is always there."""
    signer = [[20.0 + n, 10, 60 + n, 90, 0.8] for n in range(5)]
    corner = [80.0, 80, 95, 99, 0.99]
    detections = [np.array([corner, box]) for box in signer]
    detections[2] = np.array([corner, [100.0, 0, 190, 100, 0.9], signer[2]])
    detections[3] = np.array([corner])
    boxes = select_signer(detections, 0.5)
    np.testing.assert_array_equal(boxes[[0, 1, 2, 4]], np.array(signer)[[0, 1, 2, 4], :4])
    assert np.isnan(boxes[3]).all()


def corpus(folder: Path) -> dict[str, str]:
    """Four films with poses; nobody is in the last of train."""
    from pose_format import Pose

    rows = {"train": [0, 1, 2], "validation": [3]}
    for split, numbers in rows.items():
        lines = ["signal\toutput"]
        for number in numbers:
            write_video(folder / f"films/{number}.mp4", 10 + number)
            path = follow_block(folder / f"poses/{number}.pose", 10 + number)
            if number == 2:
                pose = Pose.read(path.read_bytes())
                pose.body.confidence[:] = 0
                with path.open("wb") as file:
                    pose.write(file)
            lines.append(f"{number}.mp4\tThis is {number}.")
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return {"root": str(folder / "films"), "poses": str(folder / "poses")}


def test_a_corpus_is_cropped_the_same_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored pixels equal those of frames that are decoded again; clips without are counted."""
    source = corpus(tmp_path)
    features = {"crop": {"points": "face"}, "target_fps": 25.0}
    limits = {"store": {"max_dropped_share": 0.5}}

    def recipe(storage: str = "decoded", **crop: Any) -> Recipe:
        changed = {**features, "crop": {**features["crop"], **crop}}  # type: ignore[dict-item]
        return frames_recipe(
            tmp_path, tmp_path / "stores", storage, source=source, features=changed, **limits
        )

    decoded, read_again = (extract_locally(recipe(storage)) for storage in ("decoded", "video"))
    assert decoded.manifest["dropped"]["reasons"] == {"no_signer": 1}
    for record in decoded.get_records("train"):
        segment = VideoSegment(Path(source["root"]) / record.clip.media)
        segment = VideoSegment(
            segment.path, pose_path=Path(source["poses"]) / f"{segment.path.stem}.pose"
        )
        config = recipe().features
        wanted = build_features(config).compute_features(segment)["video"].x_TD  # type: ignore[arg-type]
        (other,) = (r for r in read_again.get_records("train") if r.clip.id == record.clip.id)
        np.testing.assert_array_equal(decoded.get_features(record)["video"], wanted)
        np.testing.assert_array_equal(read_again.get_features(other)["video"], wanted)
    check = check_corpus(recipe())
    assert [row.reason for row in check.problems] == ["no_signer"]
    kept = check_corpus(recipe(missing="whole"))
    assert not kept.problems and [warning.kind for warning in kept.warnings] == ["no_signer"]
    assert decoded.fingerprint != extract_locally(recipe(missing="whole")).fingerprint


def test_a_crop_enters_fingerprints_only_if_it_is_set() -> None:
    plain = FramesFeaturesConfig(kind="frames")
    cropped = FramesFeaturesConfig(kind="frames", crop={})
    # The fingerprint of version 0.1, before there were crops.
    assert build_features(plain).fingerprint.startswith("f79a8823e78d")
    assert build_features(cropped).fingerprint != build_features(plain).fingerprint


def test_what_cannot_be(tmp_path: Path) -> None:
    tables = {"train": "a.tsv", "validation": "b.tsv"}
    base = frames_recipe(Path("corpus"), tmp_path, source=tables).model_dump(mode="json")

    def load(features: dict[str, Any], **source: str) -> Recipe:
        changed = {**base, "features": {**base["features"], **features}}
        return validate_config(Recipe, {**changed, "source": {**base["source"], **source}}, "x")

    with pytest.raises(ConfigError, match="belong together"):
        load({"crop": {}})
    with pytest.raises(ConfigError, match="belong together"):
        load({"crop": {"detector": {"kind": "hf_detector", "pretrained": "x"}}}, poses="p")
    assert load({"crop": {}}, poses="p").features.uses_poses  # type: ignore[union-attr]
    encoder = {"kind": "hf_vision", "pretrained": "x"}
    with pytest.raises(ValueError, match="add `whole`"):
        VideoFeaturesConfig.model_validate({"encoder": encoder, "crop": {}, "crops": ["face"]})
