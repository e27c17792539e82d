import json
from pathlib import Path
from typing import Any

import pytest
import torch

from kinesweep.core.errors import InputError
from kinesweep.features.encoders.image_normalization import (
    ImageNormalization,
    read_image_normalization,
)

KNOWN: dict[str, Any] = {"image_mean": [0.5, 0.25, 0.0], "image_std": [0.5, 0.25, 1.0]}
COLOUR = [51, 102, 204]  # 0.2, 0.4 and 0.8


def read(folder: Path, said: Any, file: str = "preprocessor_config.json") -> ImageNormalization:
    (folder / file).write_text(json.dumps(said))
    return read_image_normalization(str(folder))


@pytest.mark.parametrize(
    ("said", "colour"),
    [
        (KNOWN, [-0.6, 0.6, 0.8]),
        ({**KNOWN, "do_normalize": False}, [0.2, 0.4, 0.8]),
        ({"do_normalize": False, "rescale_factor": 1 / 51}, [1.0, 2.0, 4.0]),
        ({"do_normalize": False, "do_rescale": False}, [51.0, 102.0, 204.0]),
        ({"do_normalize": False, "do_flip_channel_order": True}, [0.8, 0.4, 0.2]),
        ({"image_mean": 0.2, "image_std": 0.2}, [0.0, 1.0, 3.0]),
        ({"do_normalize": False, "image_processor_type": "VivitImageProcessor"}, [-0.6, -0.2, 0.6]),
        ({"do_normalize": False, "rescale_factor": 1 / 102, "offset": True}, [-0.5, 0.0, 1.0]),
    ],
)
def test_arithmetic_is_the_files(tmp_path: Path, said: dict[str, Any], colour: list[float]) -> None:
    pixels_NHWC = torch.tensor(COLOUR, dtype=torch.uint8).expand(2, 3, 3, 3)
    found_NCHW = read(tmp_path, said)(pixels_NHWC, torch.device("cpu"))
    assert found_NCHW.dtype == torch.float32
    expected_NCHW = torch.tensor(colour)[:, None, None].expand(2, 3, 3, 3)
    torch.testing.assert_close(found_NCHW, expected_NCHW, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("said", "size"),
    [
        ({"size": 24}, 24),
        ({"size": {"height": 24, "width": 24}}, 24),
        ({"size": {"shortest_edge": 24}}, 24),
        ({"size": {"shortest_edge": 32}, "crop_size": {"height": 24, "width": 24}}, 24),
        ({"size": {"shortest_edge": 32}, "crop_size": 24, "do_center_crop": True}, 24),
        ({"size": 32, "crop_size": 24, "do_center_crop": False}, 32),
        ({}, None),
    ],
)
def test_every_form_of_a_size(tmp_path: Path, said: dict[str, Any], size: int | None) -> None:
    assert read(tmp_path, {**KNOWN, **said}).size == size


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({}, "no `image_mean`"),
        ({**KNOWN, "image_mean": [0.5]}, r"`image_mean` is \[0.5\]"),
        ({**KNOWN, "image_std": [0.5, 0.0, 0.5]}, "`image_std` is"),
        ({**KNOWN, "size": {"height": 24, "width": 32}}, "not square"),
        ({**KNOWN, "size": {"longest_edge": 32}}, "not square"),
    ],
)
def test_open_numbers_are_refused(tmp_path: Path, said: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        read(tmp_path, {"do_resize": True, **said})


def test_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(InputError, match=r"`preprocessor_config.json` cannot be read"):
        read_image_normalization(str(tmp_path))


def test_newer_files_are_read(tmp_path: Path) -> None:
    film = read(tmp_path, {**KNOWN, "size": 8}, "video_preprocessor_config.json")
    assert film.size == 8
    nested = {"image_processor": {**KNOWN, "size": 24}, "processor_class": "CLIPProcessor"}
    assert read(tmp_path, nested, "processor_config.json").size == 24
    (tmp_path / "processor_config.json").write_text('{"processor_class": "CLIPProcessor"}')
    assert read(tmp_path, {**KNOWN, "size": 16}).size == 16
