"""Tables of images: every mode becomes RGB on white; what is wrong is a counted row."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kinesweep.config.recipe.sources.image_tsv import ImageTsvConfig
from kinesweep.core.errors import ClipError, SourceError
from kinesweep.sources import build_source
from kinesweep.sources.images.image_file import read_image

RED, HALF = (200, 10, 30), (10, 20, 30, 128)


def source_of(folder: Path, *rows: str) -> Any:
    table = "\n".join(["signal\tsignal_start\tsignal_end\toutput", *rows, ""])
    (folder / "train.tsv").write_text(table)
    return build_source(ImageTsvConfig(kind="image_tsv", train=str(folder / "train.tsv")))


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.webp", "A.PNG", "a.gif", "a.jpg"])
def test_formats(tmp_path: Path, name: str) -> None:
    options = {"lossless": True} if name.endswith("webp") else {}
    Image.new("RGB", (6, 4), RED).save(tmp_path / name, **options)
    source = source_of(tmp_path, f"{name}\t0\t0\tText.")
    (clip,) = source.list_clips("train")
    pixels = source.read(clip).pixels_HW3
    assert clip.id == name[0] and pixels.shape == (4, 6, 3) and pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - RED).max() <= (3 if name.endswith("jpg") else 0)


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("L", 77, (77, 77, 77)),
        ("1", 1, (255, 255, 255)),
        ("RGBA", (0, 0, 0, 0), (255, 255, 255)),
        ("RGBA", HALF, (132, 137, 142)),
        ("LA", (0, 0), (255, 255, 255)),
        ("I;16", 65535, (255, 255, 255)),
        ("I;16", 257 * 100, (100, 100, 100)),
    ],
)
def test_modes(tmp_path: Path, mode: str, color: Any, expected: tuple[int, ...]) -> None:
    Image.new(mode, (3, 2), color).save(tmp_path / "a.png")
    assert np.abs(read_image(tmp_path / "a.png").astype(int) - expected).max() <= 1


def test_a_rotation_mark_is_followed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.new("RGB", (6, 4), RED).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (6, 4, 3)


def test_arrays(tmp_path: Path) -> None:
    gray = np.arange(6, dtype=np.uint8).reshape(2, 3)
    np.save(tmp_path / "a.npy", gray)
    np.testing.assert_array_equal(read_image(tmp_path / "a.npy"), gray[:, :, None].repeat(3, 2))
    for wrong, reason in (
        (gray.astype(np.float32), "wrong_dtype"),
        (np.zeros((3, 2, 3, 1), np.uint8), "wrong_shape"),
        (np.zeros((3, 4, 4), np.uint8), "wrong_shape"),
    ):
        np.save(tmp_path / "a.npy", wrong)
        with pytest.raises(ClipError) as caught:
            read_image(tmp_path / "a.npy")
        assert caught.value.reason == reason


def test_wrong_files_are_counted_rows(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40), RED).save(tmp_path / "cut.png")
    content = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[:-30])
    (tmp_path / "text.png").write_text("no image")
    source = source_of(
        tmp_path, *(f"{name}.png\t0\t0\tText." for name in ("cut", "text", "missing"))
    )
    assert [(row.reason, row.row) for row in source.check_clips()] == [
        ("unreadable", "train.tsv:2"),
        ("unreadable", "train.tsv:3"),
        ("missing_file", "train.tsv:4"),
    ]


def test_other_files_and_times_are_errors(tmp_path: Path) -> None:
    source = source_of(tmp_path, "a.mp4\t0\t0\tText.", "a.png\t0\t10\tText.", "A word\t0\t0\tText.")
    with pytest.raises(SourceError) as caught:
        source.list_clips("train")
    text = str(caught.value)
    assert "`kind: video_tsv`" in text and "images have no times" in text
    assert "`A word`, which is not a file with one image" in text
