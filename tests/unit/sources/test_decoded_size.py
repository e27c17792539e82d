"""A file that takes more memory than it may is refused before the memory is allocated.

Headers after NumPy's format (NEP 1), HDF5's file format (chunks that were never written are not
stored), PyTorch's views (strides of zero) and `.pose` v0.2 (pose-format's specification).
"""

import io
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from corpus import tiny_corpus, tiny_recipe, tiny_store
from kinesweep.core.errors import ClipError, StoreError
from kinesweep.core.skeleton.skeleton import SKELETONS
from kinesweep.core.units import Span
from kinesweep.sources import decoded_size
from kinesweep.sources.pose_format.pose_file import read_pose
from kinesweep.sources.precomputed.h5_files import ShardFilePool
from kinesweep.sources.precomputed.pt_features import read_features
from kinesweep.sources.skeletons.motion_file import read_single_motion
from kinesweep.sources.skeletons.npz_pack import NpzCache

SMPL = next(iter(SKELETONS.values()))


@pytest.fixture(autouse=True)
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded_size, "get_max_decoded_bytes", lambda: 10_000_000)


def npy_header(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    """An `.npy` that declares an array and ends after its header."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": descr, "fortran_order": False, "shape": shape}
    )
    return file.getvalue()


def too_large():  # type: ignore[no-untyped-def]
    return pytest.raises(ClipError, match=r"takes .* in memory, more than the 10.0 MB")


@pytest.mark.parametrize("frames", [10**6, 10**9, 10**15])
def test_an_npy_that_declares_too_much(tmp_path: Path, frames: int) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(npy_header((frames, SMPL.num_points, 3)))
    with too_large() as raised:
        read_single_motion(path, Span(), SMPL, 25.0)
    assert raised.value.reason == "too_large"


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_npz_that_declares_or_holds_too_much(tmp_path: Path, compression: int) -> None:
    declares, holds = tmp_path / "declares.npz", tmp_path / "holds.npz"
    with zipfile.ZipFile(declares, "w", compression) as archive:
        archive.writestr("a.npy", npy_header((10**9, SMPL.num_points, 3)))
    with zipfile.ZipFile(holds, "w", compression) as archive:
        archive.writestr("a.npy", npy_header((200_000, 22, 3)) + bytes(200_000 * 22 * 3 * 4))
    for path in (declares, holds):
        with too_large():
            read_single_motion(path, Span(), SMPL, 25.0)
        with too_large():
            NpzCache().get_motion(path, 0)


def test_other_files_keep_their_reason(tmp_path: Path) -> None:
    for name, content, reason in (
        ("a.npy", b"no numpy", "unreadable"),
        ("b.npz", b"PK\x03\x04 no zip", "unreadable"),
        ("c.npy", b"", "unreadable"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ClipError) as raised:
            read_single_motion(tmp_path / name, Span(), SMPL, 25.0)
        assert raised.value.reason == reason
    with pytest.raises(ClipError, match="does not exist"):
        read_single_motion(tmp_path / "none.npy", Span(), SMPL, 25.0)


def test_a_view_of_one_number(tmp_path: Path) -> None:
    torch.save(torch.zeros(1, 1).expand(10**7, 768), tmp_path / "a.pt")
    assert (tmp_path / "a.pt").stat().st_size < 10_000
    with too_large():
        read_features(tmp_path / "a.pt", 25.0)
    torch.save(torch.zeros(4000, 768), tmp_path / "b.pt")
    with too_large():
        read_features(tmp_path / "b.pt", 25.0)


def test_a_shard_of_compressed_zeros(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("v/c", data=np.zeros((20_000, 768), np.float16), compression="gzip")
    assert (tmp_path / "a.h5").stat().st_size < 100_000
    with too_large():
        ShardFilePool().read(tmp_path / "a.h5", "v", "c")


def test_a_pose_file_that_declares_too_much(tmp_path: Path) -> None:
    """The body states the number of frames, which must agree with the file's size."""
    corpus = tiny_corpus(tmp_path, clips=12)
    path = next(corpus.rglob("*.pose"))
    content = bytearray(path.read_bytes())
    sequence = read_pose(path)
    counts = struct.pack("<IH", len(sequence.points_TPJC), 1)
    position = content.index(counts)
    content[position : position + 4] = struct.pack("<I", 10**9)
    path.write_bytes(content)
    with pytest.raises(ClipError) as raised:
        read_pose(path)
    assert raised.value.reason == "truncated"


def test_a_clip_that_is_too_large_is_a_counted_drop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = tiny_corpus(tmp_path, clips=12)
    sizes = sorted(path.stat().st_size for path in corpus.rglob("*.pose"))
    monkeypatch.setattr(decoded_size, "get_max_decoded_bytes", lambda: sizes[-2])
    recipe = tiny_recipe(corpus, tmp_path / "stores", store={"max_dropped_share": 0.0})
    with pytest.raises(StoreError, match=r"too_large +1\b"):
        tiny_store(recipe)
    recipe = tiny_recipe(corpus, tmp_path / "stores", store={"max_dropped_share": 0.2})
    store = tiny_store(recipe)
    assert sum(len(store.get_records(split)) for split in store.splits) == 11
