"""Clips as pictures: people stand upright, sides have their colours, what is lost is not drawn."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageColor

from kinesweep.core.errors import InputError
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.core.skeleton.skeleton import SMPL_22
from kinesweep.report.clip_renderer import COLORS, CaptionLine, ClipRenderer, _wrap_text
from kinesweep.report.fonts import find_missing_characters, load_font
from kinesweep.report.pose_scene import LEFT, MIDDLE, RIGHT, build_scene, build_scenes
from kinesweep.report.video_writer import (
    compute_frame_times,
    draw_contact_sheet,
    write_clip_drawing,
)

MARKERS = PointLayout((("MARKERS", ("m1", "m2", "m3", "m4")),))
NAMES = [name for _, points in SMPL_22.layout.components for name in points]


def person(frames: int = 10, up: int = -1) -> NDArray[np.float32]:
    """A person who stands still, the left hand rising; y grows towards the feet if `up` is -1."""
    x_TJC = np.zeros((frames, 22, 3), np.float32)
    for place, name in enumerate(NAMES):
        side = 0.2 if "left" in name else -0.2 if "right" in name else 0.0
        height = {"head": 0.6, "neck": 0.5, "shoulder": 0.45, "wrist": 0.1, "elbow": 0.3}
        height |= {"hip": -0.05, "knee": -0.4, "ankle": -0.8, "foot": -0.85, "spine": 0.2}
        y = next((y for word, y in height.items() if word in name), 0.0)
        x_TJC[:, place] = (side, up * y, 0.05 * place)
    x_TJC[:, NAMES.index("left_wrist"), 1] += up * np.linspace(0, 0.5, frames)
    x_TJC[:, 0] = 0  # the pelvis, which all is measured from
    return x_TJC.reshape(frames, -1)


def pixels(picture: Image.Image, color: str) -> NDArray[np.intp]:
    """Rows and columns of one colour."""
    return np.argwhere((np.asarray(picture) == ImageColor.getrgb(color)).all(axis=2))


@pytest.mark.parametrize("up", [-1, 1])
def test_people_stand_upright_and_are_not_mirrored(up: int) -> None:
    """Whichever way y points: it is turned, not flipped, or depth would be seen from behind."""
    scene = build_scene("s", person(up=up), SMPL_22.layout, 10.0)
    head, foot = NAMES.index("head"), NAMES.index("left_foot")
    assert (scene.points_TJC[:, head, 1] < scene.points_TJC[:, foot, 1]).all()
    x, z = scene.points_TJC[0, NAMES.index("left_wrist"), [0, 2]]
    assert x == np.float32(0.2) and np.sign(z) == -up
    grounds = pixels(ClipRenderer([scene]).render_panels(0.0), COLORS[LEFT])[:, 0]
    assert grounds.max() > 0.8 * ClipRenderer([scene]).height


def test_a_handstand_of_a_moment_stays_one() -> None:
    x_TD = person(10)
    x_TD[:3] = person(3, up=1)
    scene = build_scene("s", x_TD, SMPL_22.layout, 10.0)
    assert (scene.points_TJC == x_TD.reshape(10, 22, 3)).all()


def test_hidden_legs_are_not_asked() -> None:
    """Where hips are zero, heads are above shoulders."""
    layout = PointLayout((("POSE_LANDMARKS", ("NOSE", "LEFT_SHOULDER", "LEFT_HIP")),))
    x_TD = np.array([[0.1, 0.9, 0.2, 0.5, 0, 0]] * 4, np.float32)
    assert build_scene("s", x_TD, layout, 10.0).points_TJC[0, 0, 1] == -np.float32(0.9)


def test_sides_by_name() -> None:
    names = ("LWrist", "RWrist", "LEFT_HIP", "right_knee", "Reye", "nose", "Lips")
    components = (("b", names), ("LEFT_HAND_LANDMARKS", ("WRIST",)))
    scene = build_scene("s", np.ones((2, 16), np.float32), PointLayout(components), 5.0)
    assert scene.sides == (LEFT, RIGHT, LEFT, RIGHT, MIDDLE, MIDDLE, MIDDLE, LEFT)


def test_what_was_not_found_is_not_drawn() -> None:
    """A point of zeros is lost, with the bones that hang on it; the origin of all others is not."""
    x_TD = person()
    whole = ClipRenderer([build_scene("s", x_TD, SMPL_22.layout, 10.0)]).render_panels(0.5)
    right = [place for place, name in enumerate(NAMES) if "right" in name]
    x_TD.reshape(10, 22, 3)[5, right] = 0
    scene = build_scene("s", x_TD, SMPL_22.layout, 10.0)
    lost = ClipRenderer([scene]).render_panels(0.5)
    assert scene.detected_TJ[:, 0].all() and not scene.detected_TJ[5, right].any()
    assert len(pixels(whole, COLORS[RIGHT])) and not len(pixels(lost, COLORS[RIGHT]))
    assert len(pixels(lost, COLORS[LEFT])) == pytest.approx(
        len(pixels(whole, COLORS[LEFT])), rel=0.2
    )


def test_a_point_that_is_never_found_does_not_stand_at_the_origin() -> None:
    x_TD = person()
    elbow = NAMES.index("right_elbow")
    x_TD.reshape(10, 22, 3)[:, elbow] = 0
    x_TD.reshape(10, 22, 3)[:, 0] = 0.01  # measured from elsewhere
    found_TJ = build_scene("s", x_TD, SMPL_22.layout, 10.0).detected_TJ
    assert not found_TJ[:, elbow].any() and found_TJ[:, elbow + 2].all()
    x_TD.reshape(10, 22, 3)[:, 0] = 0
    assert not build_scene("s", x_TD, SMPL_22.layout, 10.0).detected_TJ[:, 0].any()


def test_the_frame_is_fixed_for_the_whole_clip() -> None:
    """Only the hand moves, so only its pixels do."""
    stage = ClipRenderer([build_scene("s", person(20), SMPL_22.layout, 10.0)])
    first, last = (np.asarray(stage.render_panels(second))[30:] for second in (0.0, 1.9))
    changed = np.argwhere((first != last).any(axis=2))
    assert len(changed) and changed[:, 0].max() < 0.7 * stage.height  # feet stay where they are


def test_points_without_bones() -> None:
    x_TD = np.random.default_rng(0).random((5, 8), np.float32)
    scene = build_scene("s", x_TD, MARKERS, 10.0)
    assert scene.bones == () and len(ClipRenderer([scene]).views) == 1
    assert len(pixels(ClipRenderer([scene]).render_panels(0), COLORS[MIDDLE])) > 20


def test_a_glitch_does_not_shrink_the_person() -> None:
    x_TD = person(60)
    plain = ClipRenderer([build_scene("s", x_TD, SMPL_22.layout, 10.0)]).scale
    x_TD[7, 3] = 100.0
    assert ClipRenderer([build_scene("s", x_TD, SMPL_22.layout, 10.0)]).scale > 0.5 * plain


def test_a_reference_stands_beside_and_its_last_frame_stays() -> None:
    own, other = (
        build_scene(name, person(frames), SMPL_22.layout, 10.0)
        for name, frames in (("skeleton", 20), ("reference", 5))
    )
    stage = ClipRenderer([own, other])
    assert [view.title for view in stage.views][::2] == ["skeleton  front", "reference  front"]
    half = stage.render_panels(0).width // 2
    later = [np.asarray(stage.render_panels(second))[30:, half + 10 :] for second in (0.6, 1.9)]
    assert (later[0] == later[1]).all()


@pytest.mark.parametrize(
    ("rate_hz", "shown_hz", "count"), [(10.0, 10.0, 20), (25.0, 25.0, 20), (50.0, 25.0, 10)]
)
@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_films_last_as_long_as_the_clip(
    tmp_path: Path, rate_hz: float, shown_hz: float, count: int, suffix: str
) -> None:
    stage = ClipRenderer(
        [build_scene("s", person(20), SMPL_22.layout, rate_hz)], [CaptionLine("text", "a b")]
    )
    assert write_clip_drawing(tmp_path / f"clip{suffix}", stage) == count
    if suffix == ".gif":
        with Image.open(tmp_path / "clip.gif") as film:
            ms = [film.info["duration"] for n in range(film.n_frames) if film.seek(n) is None]
        assert sum(ms) == pytest.approx(1000 * 20 / rate_hz)
        assert np.mean(ms) == pytest.approx(1000 / shown_hz)
    else:
        with av.open(str(tmp_path / "clip.mp4")) as film:
            (stream,) = film.streams.video
            assert stream.frames == count and stream.average_rate == shown_hz
            moved = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
        assert len(moved) == count and (moved[0] != moved[-1]).any()
    assert [path.name for path in tmp_path.iterdir()] == [f"clip{suffix}"]


def test_30_frames_a_second_are_halved() -> None:
    seconds, rate = compute_frame_times(
        ClipRenderer([build_scene("s", person(30), SMPL_22.layout, 30.0)])
    )
    assert (len(seconds), rate) == (15, 15)


def words_in(lines: Sequence[CaptionLine]) -> int:
    """Height of a sheet with these texts."""
    return draw_contact_sheet(
        ClipRenderer([build_scene("s", person(), SMPL_22.layout, 10.0)], lines)
    ).height


def test_a_sheet_shows_eight_moments_and_the_texts(tmp_path: Path) -> None:
    stage = ClipRenderer(
        [build_scene("s", person(33), SMPL_22.layout, 10.0)], [CaptionLine("text", "short")]
    )
    assert write_clip_drawing(tmp_path / "clip.png", stage) == 8
    with Image.open(tmp_path / "clip.png") as picture:
        assert picture.size == draw_contact_sheet(stage).size
    none, one = words_in([]), words_in([CaptionLine("text", "short")])
    assert none < one < words_in([CaptionLine("text", "long " * 100)])
    assert one < words_in([CaptionLine("text", "short"), CaptionLine("predicted", "other")])


@pytest.mark.parametrize("suffix", [".gif", ".mp4", ".png"])
def test_an_interrupt_leaves_no_half_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    shown: list[Image.Image] = []

    def until_late(stage: ClipRenderer, second: float) -> Image.Image:
        shown.append(picture(stage, second))
        if suffix == ".mp4" and len(shown) == 90:  # what H.264 holds back is less
            raise KeyboardInterrupt
        return shown[-1]

    def save(_: Image.Image, path: Path, **__: object) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    scene, picture = build_scene("s", person(100), SMPL_22.layout, 10.0), ClipRenderer.render_panels
    monkeypatch.setattr(ClipRenderer, "render_panels", until_late)
    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(KeyboardInterrupt):
        write_clip_drawing(tmp_path / f"clip{suffix}", ClipRenderer([scene]))
    assert list(tmp_path.iterdir()) == []


def narrow(text: str) -> Image.Image:
    """A frame of somebody seen in a plane, who is narrower than any text."""
    x_TJC = person().reshape(10, 22, 3)[:, :, :2] * np.array([0.1, 1], np.float32)
    stage = ClipRenderer(
        [build_scene("s", x_TJC.reshape(10, 44), SMPL_22.layout, 10.0)], [CaptionLine("t", text)]
    )
    return stage.add_captions(stage.render_panels(0.0))


def test_texts_have_room_beneath_a_narrow_person() -> None:
    """Eight words take two or three lines, not eight that lie outside."""
    assert narrow("word").width >= 300
    assert narrow("word " * 8).height <= narrow("word").height + 2 * 20


@pytest.mark.parametrize("text", ["拳" * 80, "拳" * 80 + " 好", "好 " + "拳" * 80])
def test_long_words_are_cut_not_lost(text: str) -> None:
    """Beyond the right edge they would be."""
    lines = _wrap_text(text, 200.0)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert max(load_font(line, 14).getlength(line) for line in lines) <= 200


def test_a_text_of_several_lines_is_drawn() -> None:
    assert narrow("one\ntwo").tobytes() == narrow("one two").tobytes()


def test_what_cannot_be_drawn_is_said(tmp_path: Path) -> None:
    stage = ClipRenderer([build_scene("s", person(), SMPL_22.layout, 10.0)])
    with pytest.raises(InputError, match=r"`\.gif`, `\.mp4` or `\.png`"):
        write_clip_drawing(tmp_path / "clip.avi", stage)
    with pytest.raises(InputError, match="2 or 3 coordinates"):
        build_scene("s", np.ones((3, 16), np.float32), MARKERS, 5.0)
    with pytest.raises(InputError, match=r"no points .* \(`video`\)"):
        build_scenes({"video": np.ones((3, 4))}, {"video": None}, {"video": 5.0}, "store")


def test_characters_without_a_font_are_named() -> None:
    assert find_missing_characters("Füße ärgern, ça va?") == ""
    assert find_missing_characters("a\U00016800") == "\U00016800"
