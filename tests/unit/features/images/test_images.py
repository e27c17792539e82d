"""Images as features: fitted into squares, drawn words and signs, vectors of an image model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from signwriting.visualizer.visualize import signwriting_to_image

from kinesweep.config.loading import validate_config
from kinesweep.config.recipe.features.images import ImagesFeaturesConfig
from kinesweep.config.recipe.video import VideoFeaturesConfig
from kinesweep.core.errors import ClipError, ConfigError, InputError, ResourceError
from kinesweep.core.units import Span
from kinesweep.core.video_files import VideoSegment
from kinesweep.features import build_features
from kinesweep.features.images import drawing
from kinesweep.features.images.drawing import draw_signs, draw_words, find_default_font
from kinesweep.features.images.images import fit_square
from kinesweep.sources.base import SourceImage, SourceText
from kinesweep.sources.video.frame_reader import FrameReader
from vision import SIZE, vision_model
from written import SIGNS


def step_of(**settings: Any) -> Any:
    return build_features(
        validate_config(ImagesFeaturesConfig, {"kind": "images", **settings}, "test")
    )


def picture(height: int, width: int) -> np.ndarray:
    """Noise in blocks of four pixels."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), np.uint8)
    return np.ascontiguousarray(blocks.repeat(4, axis=0).repeat(4, axis=1)[:height, :width])


def write_folder(folder: Path, *pictures: np.ndarray) -> Path:
    """A folder of PNGs, which is a video."""
    folder.mkdir()
    for number, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize(("height", "width"), [(40, 90), (90, 41), (32, 32), (17, 100)])
def test_a_cropped_image_is_the_frame_of_a_video(tmp_path: Path, height: int, width: int) -> None:
    pixels = picture(height, width)
    folder = write_folder(tmp_path / "frames", pixels)
    (frame,) = FrameReader(VideoSegment(folder, Span(), 1.0), 32)
    ours = step_of(size=32).compute_features(SourceImage(pixels))["images"]
    assert (ours.frame_size, ours.x_TD.dtype, ours.x_TD.shape) == (32, np.uint8, (1, 32 * 32 * 3))
    np.testing.assert_array_equal(ours.x_TD.reshape(32, 32, 3), frame)


def test_a_padded_image_is_whole_on_white() -> None:
    black = np.zeros((40, 80, 3), np.uint8)
    square = fit_square(black, 32, "pad")
    assert (square[:8] == 255).all() and (square[24:] == 255).all()
    assert (square[8:24] == 0).all()
    assert (fit_square(black, 32, "crop") == 0).all()
    assert fit_square(np.zeros((1, 500, 3), np.uint8), 16, "pad").shape == (16, 16, 3)


def test_vectors_are_those_of_the_frames_of_a_video(tmp_path: Path) -> None:
    model = vision_model(tmp_path / "dinov2", "dinov2")
    encoder = {"kind": "hf_vision", "pretrained": str(model)}
    pixels = picture(40, 60)
    video = validate_config(
        VideoFeaturesConfig, {"kind": "video", "encoder": encoder, "windows": {"num_frames": 1}}, ""
    )
    folder = write_folder(tmp_path / "frames", pixels)
    theirs = build_features(video).compute_features(VideoSegment(folder, Span(), 25.0))["video"]
    ours = step_of(encoder=encoder, batch=2).compute_features(SourceImage(pixels))["images"]
    assert ours.frame_size is None and ours.x_TD.dtype == np.float32
    np.testing.assert_allclose(ours.x_TD, theirs.x_TD, rtol=0, atol=1e-5)


def test_vectors_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    model = vision_model(tmp_path / "dinov2", "dinov2")
    encoder = {"kind": "hf_vision", "pretrained": str(model)}
    media = SourceText("one, two three")
    found = [
        step_of(encoder=encoder, batch=batch).compute_features(media)["images"].x_TD
        for batch in (1, 3, 16)
    ]
    assert found[0].shape == (4, 16)  # a comma is an image of its own
    for x_TD in found[1:]:
        np.testing.assert_allclose(x_TD, found[0], rtol=0, atol=1e-5)


def test_a_video_model_reads_no_single_images(tmp_path: Path) -> None:
    model = vision_model(tmp_path / "videomae", "videomae")
    step = step_of(encoder={"kind": "hf_vision", "pretrained": str(model)})
    with pytest.raises(InputError, match="processes 16 frames at once"):
        step.compute_features(SourceImage(picture(SIZE, SIZE)))


def test_words_are_drawn_where_multimodalhugs_draws_them() -> None:
    (ours,) = draw_words("Hagel", 224, None, 48)
    image = Image.new("RGB", (224, 224), color="white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.truetype(find_default_font(), 48)
    box = draw.textbbox((0, 0), "Hagel", font=font)
    place = (224 - (box[2] - box[0])) / 2, (224 - (box[3] - box[1])) / 2
    draw.text(place, "Hagel", fill="black", font=font)
    np.testing.assert_array_equal(ours, np.array(image))
    assert 0.01 < (ours < 128).mean() < 0.3


def test_words_and_marks_are_images_of_their_own() -> None:
    assert len(draw_words('He said: "no", then left.', 32, None, 12)) == 9
    with pytest.raises(ClipError, match="no words"):
        draw_words("  ", 32, None, 12)


def test_a_long_word_is_drawn_smaller_not_cut() -> None:
    (image,) = draw_words("Donaudampfschifffahrtsgesellschaft", 96, None, 48)
    assert (image[:, [0, -1]] == 255).all()
    assert (image < 128).any()


def test_a_font_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "font.ttf").write_bytes(b"no font")
    with pytest.raises(InputError, match=r"features\.font.*cannot be read"):
        draw_words("a", 32, str(tmp_path / "font.ttf"), 12)


def center_on_white(drawing: Image.Image, size: int) -> Image.Image:
    """MultimodalHugs 0.5.4's rule, written anew: the longer side is limited to size - 10."""
    ratio = drawing.width / drawing.height
    if ratio > 1:
        wide = min(drawing.width, size - 10)
        high = int(wide / ratio)
    else:
        high = min(drawing.height, size - 10)
        wide = int(high * ratio)
    page = Image.new("RGB", (size, size), "white")
    small = drawing.resize((wide, high), Image.LANCZOS)
    page.paste(small, ((size - wide) // 2, (size - high) // 2), small)
    return page


@pytest.mark.parametrize("size", [224, 64])
def test_signs_are_drawn_as_multimodalhugs_draws_them(size: int) -> None:
    signs = [sign for sign in SIGNS if sign.startswith("M")]
    media = SourceText(" ".join(signs), is_signwriting=True)
    features = step_of(size=size).compute_features(media)["images"]
    images = features.x_TD.reshape(len(signs), size, size, 3)
    for sign, image in zip(signs, images, strict=True):
        expected = np.array(center_on_white(signwriting_to_image(sign, trust_box=False), size))
        np.testing.assert_array_equal(image, 255 - expected)  # they invert by default
        assert (image > 128).any()
    plain = step_of(size=size, invert=False).compute_features(media)["images"].x_TD
    np.testing.assert_array_equal(plain, 255 - features.x_TD)


def test_signs_without_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "signwriting.visualizer.visualize", None)
    with pytest.raises(ResourceError, match=r"kinesweep\[signwriting\]"):
        draw_signs(SIGNS[0], 64)
    assert drawing.draw_words("a", 32, None, 12).shape == (1, 32, 32, 3)


def test_what_changes_pixels_changes_the_fingerprint(tmp_path: Path) -> None:
    font = Path(find_default_font())
    (tmp_path / "copy.ttf").write_bytes(font.read_bytes())
    same = [step_of(), step_of(stream="other"), step_of(size=None)]
    fonts = [step_of(font=str(font)), step_of(font=str(tmp_path / "copy.ttf"))]
    others = [step_of(size=64), step_of(fit="pad"), step_of(invert=True), step_of(font_size=12)]
    assert len({step.fingerprint for step in same}) == 1
    assert len({step.fingerprint for step in fonts}) == 1
    assert len({step.fingerprint for step in [same[0], fonts[0], *others]}) == 6


def test_shapes_are_known_without_the_image_model() -> None:
    media = SourceText("two words")
    assert step_of(size=16).estimate_shapes(media) == {"images": (2, 768)}
    assert step_of().estimate_shapes(SourceImage(picture(8, 8))) == {"images": (1, 150_528)}


def test_a_size_beside_an_encoder_is_refused() -> None:
    with pytest.raises(ConfigError, match="`size` is that of the `encoder`"):
        step_of(size=64, encoder={"kind": "hf_vision", "pretrained": "any"})
