"""Tiny ONNX models in the form of those of RTMPose: a detector of people, and a pose model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 64
"""Side of the image that the detector reads."""
POSE_SIZE = 48, 64
"""Width and height of the image that the pose model reads."""
BINS = 96, 128
"""Bins of x and y: two for each pixel."""


def _save(
    path: Path, nodes: Sequence[onnx.NodeProto], height: int, width: int, outputs: dict
) -> Path:  # type: ignore[type-arg]
    """Save a model that reads one image; `outputs` are name → shape."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, height, width])
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()]
    graph = helper.make_graph(nodes, path.stem, [image], infos)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def _constant(name: str, values: object) -> onnx.NodeProto:
    """A constant of a model."""
    array = numpy_helper.from_array(np.asarray(values, np.float32))
    return helper.make_node("Constant", [], [name], value=array)


def write_detector(path: Path, box: Sequence[float]) -> Path:
    """A detector that finds a person in `box`, with the first channel's brightness as its score."""
    shape = helper.make_node(
        "Constant", [], ["shape"], value=numpy_helper.from_array(np.array([1, 1, 1]))
    )
    nodes = [
        _constant("box", [[list(box)]]),
        _constant("first", [[1], [0], [0]]),
        # rtmlib fills the image below a film with gray, whose score alone is below its threshold.
        _constant("bright", [[[120.0]]]),
        shape,
        helper.make_node("ReduceMean", ["image"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["means", "first"], ["mean"]),
        helper.make_node("Reshape", ["mean", "shape"], ["mean3"]),
        helper.make_node("Div", ["mean3", "bright"], ["score"]),
        helper.make_node("Concat", ["box", "score"], ["boxes"], axis=2),
    ]
    return _save(path, nodes, SIDE, SIDE, {"boxes": [1, 1, 5]})


def write_pose_model(path: Path, num_points: int = 133, unsure: int = 5) -> Path:
    """A pose model that puts point j at the bins (7 j, 11 j); one point has a negative score."""
    scores = 0.4 + np.arange(num_points) / 1000
    scores[unsure] = -0.1
    bins = []
    for step, count in zip((7, 11), BINS, strict=True):
        x = np.full((1, num_points, count), -1.0)
        x[0, np.arange(num_points), np.arange(num_points) * step % count] = scores
        bins.append(x)
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=0),
        _constant("zero", [0.0]),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        *(_constant(f"bins{axis}", x) for axis, x in enumerate(bins)),
        *(helper.make_node("Add", [f"bins{a}", "nothing"], [f"out{a}"]) for a in (0, 1)),
    ]
    shapes = {f"out{axis}": [1, num_points, BINS[axis]] for axis in (0, 1)}
    return _save(path, nodes, POSE_SIZE[1], POSE_SIZE[0], shapes)
