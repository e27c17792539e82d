"""Embedders are read whole and safely: what is not as it was written is refused by name."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from kinesweep.core.errors import CheckpointError, InputError
from kinesweep.core.skeleton.skeleton import SMPL_22
from kinesweep.features.frame_embedder_io import (
    DESCRIPTION_FILE,
    WEIGHTS_FILE,
    compute_embedder_digest,
    read_embedder,
    write_embedder,
)
from kinesweep.features.traced_network import OPERATIONS, TracedNetwork

STEPS = [
    ["aten.linear.default", [{"input": 0}, {"weight": "matrix"}], {}],
    ["aten.linalg_vector_norm.default", [{"step": 0}, 2.0, [1], True], {}],
    ["aten.div.Tensor", [{"step": 0}, {"step": 1}], {}],
]
"""Frames times a matrix, to length 1."""


def write(folder: Path, steps: list = STEPS, size: int = 2, offset: float = 1.0) -> Path:
    matrix = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]) + offset
    described = {"stream": "pose", "width": 3, "size": size, "score": {"tau": 0.5}}
    described["layout"] = SMPL_22.layout.to_json()
    write_embedder(folder, described, steps, {"matrix": matrix})
    return folder


def change(folder: Path, **parts: object) -> Path:
    """Other words in the description."""
    plain = json.loads((folder / DESCRIPTION_FILE).read_text())
    (folder / DESCRIPTION_FILE).write_text(json.dumps(plain | parts))
    return folder


def test_what_is_written_is_read(tmp_path):
    embedder = read_embedder(write(tmp_path / "e"))
    x_TD = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 1.0], [4.0, 0.0, 0.0]], np.float32)
    e_TE = embedder(x_TD)
    raw_TE = x_TD @ np.array([[2.0, 1.0], [1.0, 2.0], [1.0, 1.0]], np.float32)
    np.testing.assert_allclose(e_TE, raw_TE / np.linalg.norm(raw_TE, axis=1, keepdims=True), 1e-6)
    assert e_TE.dtype == np.float32
    assert (embedder.input_width, embedder.output_width, embedder.stream) == (3, 2, "pose")
    assert embedder.layout == SMPL_22.layout
    assert embedder.scores == {"tau": 0.5}


def test_the_digest_names_operations_and_weights_alone(tmp_path):
    digest = compute_embedder_digest(write(tmp_path / "one"))
    assert len(digest) == 64
    assert digest == read_embedder(tmp_path / "one").digest
    assert compute_embedder_digest(change(write(tmp_path / "score"), score={"tau": 0.1})) == digest
    assert compute_embedder_digest(write(tmp_path / "weights", offset=2.0)) != digest
    assert compute_embedder_digest(write(tmp_path / "steps", STEPS[:1])) != digest


def test_other_frames_are_refused(tmp_path):
    embedder = read_embedder(write(tmp_path / "e"))
    for x_TD in (np.zeros((4, 5), np.float32), np.zeros((0, 3), np.float32), np.zeros(3)):
        with pytest.raises(InputError, match=r"expects \(T, 3\) frames of `pose`, but got"):
            embedder(x_TD)
    with pytest.raises(InputError, match="contain non-finite values"):
        embedder(np.full((4, 3), np.nan, np.float32))


@pytest.mark.parametrize("missing", [DESCRIPTION_FILE, WEIGHTS_FILE])
def test_a_folder_without_one_of_both_is_refused(tmp_path, missing):
    (write(tmp_path / "e") / missing).unlink()
    for reader in (read_embedder, compute_embedder_digest):
        with pytest.raises(CheckpointError, match="does not contain an embedder"):
            reader(tmp_path / "e")


def test_other_weights_are_refused(tmp_path):
    write(tmp_path / "e")
    write(tmp_path / "other", offset=3.0)
    (tmp_path / "other" / WEIGHTS_FILE).rename(tmp_path / "e" / WEIGHTS_FILE)
    for reader in (read_embedder, compute_embedder_digest):
        with pytest.raises(CheckpointError, match="differs from `weights_sha256`"):
            reader(tmp_path / "e")


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"format": 9}, "has format version 9"),
        ({"size": 5}, r"two frames give the shape \(2, 2\) instead of \(2, 5\)"),
        ({"width": 4}, "cannot be run"),
        ({"program": []}, "has no steps"),
        ({"program": [["aten.from_file.default", ["a"], {}]]}, "the operation `aten.from_file"),
        (
            {"program": [["torch.os.system", ["a"], {}]]},
            "the operation `torch.os.system` is not supported",
        ),
        ({"program": [["aten.relu.default", [{"weight": "x"}], {}]]}, "no weight `x`"),
        ({"program": [["aten.relu.default", [{"step": 0}], {}]]}, "no step `0`"),
        ({"program": [["aten.relu.default", [{"dtype": "os"}], {}]]}, "no dtype `os`"),
        ({"program": 4}, "missing or invalid"),
        ({"score": 4}, "missing or invalid"),
    ],
)
def test_what_does_not_hold_together_is_refused(tmp_path, parts, says):
    with pytest.raises(CheckpointError, match=says):
        read_embedder(change(write(tmp_path / "e"), **parts))


def test_a_description_that_is_no_json_is_refused(tmp_path):
    (write(tmp_path / "e") / DESCRIPTION_FILE).write_text("{")
    with pytest.raises(CheckpointError, match="is not valid JSON"):
        read_embedder(tmp_path / "e")


def test_every_operation_is_there():
    for name in sorted(OPERATIONS):
        TracedNetwork([[name, [], {}]], {}, "x")
    assert len(OPERATIONS) > 20
    with pytest.raises(CheckpointError, match=r"aten\.bernoulli"):
        TracedNetwork([["aten.bernoulli.default", [], {}]], {}, "x")
