"""Pickled motions become a table and a pack; a pickle that would run something is refused."""

import os
import pickle
import pickletools
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from kinesweep.cli import app
from kinesweep.config.recipe.skeletons import SkeletonsConfig
from kinesweep.core.errors import InputError, SourceError
from kinesweep.interop.motion_pickle import convert_pickled_motions
from kinesweep.interop.safe_unpickler import read_plain_values
from kinesweep.sources.skeletons.skeletons import SkeletonsSource
from skeletons import motions

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def records() -> list[dict[str, Any]]:
    """As Motion2text keeps them: arrays and tensors, flat and not, one or several texts."""
    one, two, three = motions(3)
    return [
        {"video_name": "0_front", "coordinates": one, "labels": ["Lift\tit.", "Up\nnow."]},
        {
            "video_name": "0_front",
            "coordinates": torch.tensor(two.reshape(len(two), -1)),
            "labels": "Turn.",
            "seq_len": torch.tensor(3),
            "start_frame": np.int64(1),
            "end_frame": 3,
            "camera": 2,
        },
        {"coordinates": torch.tensor(three).double(), "captions": [], "motion_type": "Jab"},
    ]


def write(folder: Path, value: Any, protocol: int = 4) -> Path:
    path = folder / "motions.pkl"
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def test_what_was_kept_is_read(tmp_path: Path) -> None:
    done = convert_pickled_motions(write(tmp_path, records()), tmp_path / "new" / "train.tsv")
    assert (done.clips, done.points, done.left) == (3, 22, {"camera": 1})
    config = {"kind": "skeletons", "fps": 20, "train": str(done.table)}
    source = SkeletonsSource(SkeletonsConfig.model_validate(config))
    clips = source.list_clips("train")
    assert [(c.id, c.texts) for c in clips] == [
        ("0_front", ("Lift it.", "Up now.")),
        ("0_front#2", ("Turn.",)),
    ]
    assert [problem.reason for problem in source.list_invalid_rows()] == ["empty_text"]
    one, two, three = motions(3)
    for clip, x_TJC in zip(clips, (one, two[1:3]), strict=True):
        np.testing.assert_array_equal(source.read(clip).pose.points_TPJC[:, 0], x_TJC)
    with np.load(done.pack, allow_pickle=False) as pack:
        np.testing.assert_array_equal(pack["offsets"], [0, 3, 6, 6 + len(three)])
        np.testing.assert_array_equal(pack["data"][6:], three)
    assert done.table.read_text().splitlines()[3].split("\t")[-1] == "Jab"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_values_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    arrays = [np.arange(6).reshape(2, 3).astype(kind) for kind in ("f4", ">f8", "i8", "u1", "?")]
    arrays += [
        np.asfortranarray(arrays[0]),
        arrays[0][:, ::2],
        np.arange(24.0).reshape(2, 3, 4).transpose(1, 2, 0),
        np.zeros((0, 3)),
        np.array(["a", "bc"]),
    ]
    tensors = [
        torch.arange(12.0).reshape(3, 4),
        torch.arange(12).reshape(3, 4).T[1:],
        torch.tensor(5),
    ]
    tensors.append(torch.zeros(0, 3, dtype=torch.float64))
    objects = np.empty(2, object)
    objects[:] = [{"x": arrays[0]}, [1]]
    value = {
        "plain": [1, 2.5, None, True, "text", b"bytes", (1, 2), {3}, frozenset({4}), 1j],
        "ordered": OrderedDict(a=1),
        "default": defaultdict(list, b=[2]),
        "scalar": [np.float32(1.5), np.int64(7)],
        "objects": objects,
    }
    found = read_plain_values(
        write(tmp_path, {**value, "arrays": arrays, "tensors": tensors}, protocol)
    )
    for made, wanted in zip(found["arrays"], arrays, strict=True):
        assert made.dtype == wanted.dtype
        np.testing.assert_array_equal(made, wanted)
    for made, tensor in zip(found["tensors"], tensors, strict=True):
        np.testing.assert_array_equal(made, tensor.numpy())
    assert found["plain"][:6] == value["plain"][:6] and found["plain"][6] == [1, 2]
    assert found["plain"][7:] == value["plain"][7:]
    assert found["ordered"] == {"a": 1} and found["default"] == {"b": [2]}
    assert found["scalar"] == [1.5, 7]
    np.testing.assert_array_equal(found["objects"][0]["x"], arrays[0])


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


class Evaluated(Payload):
    """The same by `eval`."""

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"open({str(self.mark)!r}, 'w')",)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", [Payload, Evaluated])
def test_nothing_is_run(tmp_path: Path, protocol: int, kind: type[Payload]) -> None:
    mark = tmp_path / "mark"
    path = write(tmp_path, [*records(), {"coordinates": kind(mark)}], protocol)
    with pytest.raises(SourceError, match=r"system|eval"):
        convert_pickled_motions(path, tmp_path / "out.tsv")
    assert not mark.exists() and not (tmp_path / "out.tsv").exists()
    pickle.loads(path.read_bytes())
    assert mark.exists()  # it would have run


def test_nothing_is_run_that_hides(tmp_path: Path) -> None:
    """In an array of objects, in a tensor's bytes, behind a dotted name, in an `.npz`."""
    mark = tmp_path / "mark"
    hidden = np.empty(1, object)
    hidden[0] = Payload(mark)
    np.save(tmp_path / "a.npy", hidden, allow_pickle=True)
    np.savez(tmp_path / "b.npz", data=hidden)
    (tmp_path / "c.pkl").write_bytes(pickle.dumps({"x": hidden}))
    inner = pickle.dumps(Payload(mark))
    loading = (
        b"ctorch.storage\n_load_from_bytes\n(" + pickle.BINBYTES + len(inner).to_bytes(4, "little")
    )
    (tmp_path / "d.pkl").write_bytes(loading + inner + b"tR.")
    dotted = b"\x80\x04\x8c\x08builtins\x8c\x0elist.__class__\x93."
    (tmp_path / "e.pkl").write_bytes(dotted)
    (tmp_path / "f.pkl").write_bytes(b"cbuiltins\ngetattr\n.")
    (tmp_path / "g.pkl").write_bytes(b"Pabc\n.")
    for path in sorted(tmp_path.glob("[a-g].*")):
        with pytest.raises(SourceError):
            read_plain_values(path)
    assert not mark.exists()


def test_a_tensor_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    content = pickle.dumps(torch.arange(4.0), 2)
    numbers = [op for op in pickletools.genops(content) if op[0].name == "BININT1" and op[1] == 4]
    assert numbers
    where = numbers[-1][2]
    assert where is not None
    forged = content[: where + 1] + b"\x63" + content[where + 2 :]  # 99 long
    (tmp_path / "a.pkl").write_bytes(forged)
    with pytest.raises(SourceError, match="beyond"):
        read_plain_values(tmp_path / "a.pkl")


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"no pickle", b"\x80\x04]\x94(K\x01"])
def test_damaged_files(tmp_path: Path, content: bytes) -> None:
    for name in ("a.pkl", "a.npy", "a.npz"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SourceError, match="not a pickle of plain values"):
            read_plain_values(tmp_path / name)
    with pytest.raises(InputError, match="cannot be read"):
        read_plain_values(tmp_path / "nowhere.pkl")


def test_hybrik_s_output(tmp_path: Path) -> None:
    (x_TJC,) = motions(1, points=29)
    path = write(tmp_path, {"pred_xyz_29": list(x_TJC), "bbox": [[0, 0, 1, 1]]})
    done = convert_pickled_motions(path, tmp_path / "video.tsv")
    assert (done.clips, done.points, done.left) == (1, 22, {"bbox": 1})
    with np.load(done.pack, allow_pickle=False) as pack:
        np.testing.assert_array_equal(pack["data"], x_TJC[:, :22])


def test_hybrik_s_res_pk(tmp_path: Path) -> None:
    """As `demo_video.py` writes it: arrays over frames, one of them of paths."""
    (regressed, fitted) = motions(1, points=29) + motions(1, points=24)
    frames = len(regressed)
    content = {
        "pred_uvd": regressed,
        "pred_xyz_17": regressed[:, :17],
        "pred_xyz_29": regressed,
        "pred_xyz_24_struct": fitted[:frames],
        "pred_scores": regressed[..., 0],
        "transl": regressed[:, 0],
        "bbox": np.ones((frames, 4)),
        "height": np.full(frames, 480),
        "img_path": np.stack([f"raw_images/a-{number:06d}.png" for number in range(frames)]),
    }
    path = write(tmp_path, content)
    for joints, wanted in ((None, regressed), ("pred_xyz_24_struct", fitted)):
        done = convert_pickled_motions(path, tmp_path / f"{joints}.tsv", joints=joints)
        with np.load(done.pack, allow_pickle=False) as pack:
            np.testing.assert_array_equal(pack["data"], wanted[:frames, :22])
    with pytest.raises(InputError, match="`--joints pred_xyz_24`: record 0 has pred_uvd"):
        convert_pickled_motions(path, tmp_path / "x.tsv", joints="pred_xyz_24")


def test_records_by_name_and_in_numpy_s_file(tmp_path: Path) -> None:
    (one,) = motions(1)
    named = {
        "anna": {"keypoints": one, "captions": ["A."]},
        "ben": {"keypoints": one, "labels": "B."},
    }
    np.save(tmp_path / "a.npy", np.array(named, object), allow_pickle=True)
    done = convert_pickled_motions(tmp_path / "a.npy", tmp_path / "table.tsv")
    rows = [line.split("\t") for line in done.table.read_text().splitlines()]
    assert rows == [["id", "index", "text1"], ["anna", "0", "A."], ["ben", "1", "B."]]
    np.savez(tmp_path / "b.npz", annotations=np.array(records(), object))
    assert convert_pickled_motions(tmp_path / "b.npz", tmp_path / "more.tsv").clips == 3


def test_all_records_that_do_not_fit_are_named(tmp_path: Path) -> None:
    (one,) = motions(1)
    bad = [
        {"coordinates": one},
        {"joints": one},
        {"coordinates": one[:, :, 0]},
        {"coordinates": one, "seq_len": 9},
        {"coordinates": one, "start": 2, "end": 2},
        {"coordinates": one, "labels": [1]},
        7,
    ]
    with pytest.raises(SourceError) as caught:
        convert_pickled_motions(write(tmp_path, bad), tmp_path / "a.tsv")
    text = str(caught.value)
    assert "7 records, of which 6" in text
    for number, word in enumerate(
        ("no coord", "is (3, 22)", "seq_len", "segment", "texts", "mapping"), 1
    ):
        assert any(f"record {number}:" in line and word in line for line in text.splitlines()), word
    with pytest.raises(SourceError, match="differ"):
        convert_pickled_motions(
            write(tmp_path, [{"keypoints": one}, {"keypoints": one[:, :5]}]), tmp_path / "a.tsv"
        )
    with pytest.raises(SourceError, match="a value of type `int`"):
        convert_pickled_motions(write(tmp_path, 3), tmp_path / "a.tsv")


def test_the_verb(tmp_path: Path) -> None:
    path, out = write(tmp_path, records()), tmp_path / "train.tsv"
    result = CliRunner().invoke(app, ["convert", str(path), str(out)])
    assert result.exit_code == 0, result.output
    assert "camera of 1 records" in result.output and out.is_file()
    again = CliRunner().invoke(app, ["convert", str(path), str(out)])
    assert again.exit_code == 2
    result = CliRunner().invoke(app, ["convert", str(path), str(out), "--overwrite"])
    assert result.exit_code == 0
    for bad in (["a.txt"], ["motions.tsv", "--into", str(tmp_path)]):
        wrong = CliRunner().invoke(app, ["convert", str(path), *bad])
        assert wrong.exit_code == 2
    np.savez(tmp_path / "x.npz", a=np.array(records(), object))
    with pytest.raises(InputError, match="another name"):
        convert_pickled_motions(tmp_path / "x.npz", tmp_path / "x.tsv")


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04Nr\xff\xff\xff\x00.",  # LONG_BINPUT: 16 million entries
        b"Np99999999999\n.",  # PUT
        b"\x80\x02cbuiltins\nbytes\nJ\xff\xff\xff\x7f\x85R.",  # 2 GB of zeros
        b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b".",  # BYTEARRAY8
    ],
)
def test_pickles_that_ask_for_memory_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(SourceError):
        read_plain_values(tmp_path / "a.pkl")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_bytes_are_plain_values(tmp_path: Path, protocol: int) -> None:
    value = {"a": b"x\xff", "b": bytearray(b"q\xff"), "c": b"", "d": bytearray()}
    assert read_plain_values(write(tmp_path, value, protocol)) == value
