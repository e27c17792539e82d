"""Folds of skeletons: rows of the same columns that still point at their motions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinesweep.config.recipe.skeletons import SkeletonsConfig
from kinesweep.core.clip import Clip
from kinesweep.sources.skeletons.skeletons import SkeletonsSource
from kinesweep.sources.splitting.cross_validation import get_folds_root, write_folds
from skeletons import motions, write_pack, write_rows

SIGNERS = ("ann", "ben", "cleo")


def rows(first: int, count: int, columns: str) -> list[str]:
    """Rows of `columns`, of which `id`, `index`, `motion` and `reference` number motions."""
    found = []
    for n in range(first, first + count):
        cells = {"id": f"{SIGNERS[n % 3]}_{n}", "index": str(n), "motion": f"m{n}.npy"}
        cells |= {"reference": f"{SIGNERS[0]}_0" if n % 2 else "-", "start": "1", "kind": "Jab"}
        found.append(" ".join(cells.get(column, f"T{n}") for column in columns.split()))
    return found


def packed(folder: Path, columns: str = "id index ref1 kind reference start") -> dict[str, Any]:
    """One pack; two tables with different columns."""
    write_pack(folder / "all.npz", motions(12))
    other = f"{columns} text"
    return {
        "motions": str(folder / "all.npz"),
        "train": write_rows(folder / "train.tsv", columns, rows(0, 8, columns)),
        "test": write_rows(folder / "test.tsv", other, rows(8, 4, other)),
    }


def numbered(folder: Path) -> dict[str, Any]:
    """One pack, whose motions are numbered by the rows."""
    write_pack(folder / "all.npz", motions(12))
    columns = "id ref1"
    table = write_rows(folder / "train.tsv", columns, rows(0, 12, columns))
    return {"motions": str(folder / "all.npz"), "train": table}


def beside(folder: Path) -> dict[str, Any]:
    """A pack beside each table, numbered by the rows themselves."""
    found: dict[str, Any] = {}
    for split, first, count in (("train", 0, 6), ("validation", 6, 3), ("test", 9, 3)):
        place = folder / split
        place.mkdir()
        write_pack(place / f"{split}.npz", motions(12)[first : first + count])
        lines = [
            f"{row} {n % count if n % 2 else '-'}"
            for n, row in enumerate(rows(first, count, "id ref1"))
        ]
        found[split] = write_rows(place / f"{split}.tsv", "id ref1 reference", lines)
    return found


def files(folder: Path) -> dict[str, Any]:
    """A file a motion, beside the table."""
    for n, x_TJC in enumerate(motions(12)):
        np.save(folder / f"m{n}.npy", x_TJC)
    columns = "motion ref1 reference"
    lines = [line.replace("ann_0", "m0.npy") for line in rows(0, 12, columns)]
    return {"train": write_rows(folder / "train.tsv", columns, lines)}


def content(source: SkeletonsSource, clip: Clip) -> tuple[Any, ...]:
    """All of a clip but where it stands."""
    read = source.read(clip)
    other = None if read.reference_pose is None else read.reference_pose.points_TPJC.tobytes()
    about = (clip.texts, clip.signer, clip.span, clip.gloss)
    return (clip.id, read.pose.points_TPJC.tobytes(), other, *about)


@pytest.mark.parametrize("make", [packed, numbered, beside, files])
def test_folds(tmp_path: Path, make: Any) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    plain = {"kind": "skeletons", "fps": 20, "signer_pattern": "^([a-z0-9]+)", **make(corpus)}
    plain |= {"columns": {"gloss": "kind"}} if make is packed else {}
    config = SkeletonsConfig.model_validate(plain)
    out = write_folds(config, by="signer", num_folds=3, seed=1, out=tmp_path / "folds")
    before = SkeletonsSource(config)
    pooled = [s for s in ("train", "validation") if s in before.list_splits()]
    wanted = sorted(content(before, clip) for split in pooled for clip in before.list_clips(split))
    held: list[str] = []
    for fold in range(3):
        tables = {path.stem: str(path) for path in out if path.parent.name == f"fold-{fold}"}
        assert set(tables) == {"train", "validation", *before.list_splits()}
        changed = {**plain, **tables, "motions": str(get_folds_root(config))}
        after = SkeletonsSource(SkeletonsConfig.model_validate(changed))
        train, validation = after.list_clips("train"), after.list_clips("validation")
        assert not {c.signer for c in train} & {c.signer for c in validation}
        assert sorted(content(after, clip) for clip in [*train, *validation]) == wanted
        if "test" in tables:
            tests = [content(before, clip) for clip in before.list_clips("test")]
            assert [content(after, clip) for clip in after.list_clips("test")] == tests
        held += [clip.id for clip in validation]
    assert sorted(held) == [row[0] for row in wanted]


def test_columns_stay_as_they_are_called(tmp_path: Path) -> None:
    plain = packed(tmp_path, "id index ref1 kind camera")
    config = SkeletonsConfig.model_validate(
        {
            "kind": "skeletons",
            "fps": 20,
            **plain,
            "columns": {"gloss": "kind", "signer": "camera"},
        }
    )
    out = write_folds(config, by="signer", num_folds=2, seed=0, out=tmp_path / "folds")
    assert out[0].read_text().splitlines()[0].split("\t") == [
        *("id", "index", "ref1", "kind", "camera", "text"),
    ]


@pytest.mark.parametrize("most", [None, 3])
def test_folds_keep_what_is_no_clip_but_compared_with(tmp_path: Path, most: int | None) -> None:
    """A row without a text, and one that `max_clips` cuts."""
    lines = ["ann_0 0 A. 2 0", "ben_1 1 B. 9 0", "cleo_2 3 C. - 0", "2 4 - - 1", "9 5 D. - 1"]
    plain = {
        "kind": "skeletons",
        "fps": 20,
        "signer_pattern": "^([a-z0-9]+)",
        "motions": str(write_pack(tmp_path / "all.npz", motions(6))),
        "train": write_rows(tmp_path / "train.tsv", "id index text reference start", lines),
        "max_clips": most,
    }
    config = SkeletonsConfig.model_validate(plain)
    before = SkeletonsSource(config)
    wanted = sorted(content(before, clip) for clip in before.list_clips("train"))
    write_folds(config, by="signer", num_folds=3, seed=1, out=tmp_path / "folds")
    for fold in sorted((tmp_path / "folds").iterdir()):
        tables = {split: str(fold / f"{split}.tsv") for split in ("train", "validation")}
        after = SkeletonsSource(config.model_copy(update={**tables, "max_clips": None}))
        found = [content(after, clip) for split in tables for clip in after.list_clips(split)]
        assert sorted(found) == wanted
