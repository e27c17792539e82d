"""Folds: no group on both sides, nothing lost, the same files again, nothing overwritten."""

from pathlib import Path
from typing import Literal

import pytest

from kinesweep.config.recipe.source import PoseTsvConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.sources.pose_format.pose_tsv import PoseTsvSource
from kinesweep.sources.splitting.cross_validation import assign_folds, get_folds_root, write_folds

SIGNERS = ("anna", "ben", "cleo", "dora", "emil")


def corpus(folder: Path, num_clips: int = 20, signers: tuple[str, ...] = SIGNERS) -> PoseTsvConfig:
    header = "signal\tsignal_start\tsignal_end\tdecoder_prompt\toutput\tsigner\tdocument"
    paths = {}
    for split, share in {"train": 2, "validation": 1, "test": 1}.items():
        (folder / split).mkdir(parents=True)
        rows = [
            f'p/{split}{n}.pose\t{n * 1.5}\t0\t__en__\t"Text" {n}\t'
            f"{signers[n % len(signers)]}\tdoc{n // 4}"
            for n in range(num_clips * share // 2)
        ]
        paths[split] = str(folder / split / "rows.tsv")
        Path(paths[split]).write_text("\n".join([header, *rows]), encoding="utf-8")
    return PoseTsvConfig(**paths)


def fold_source(out: Path, fold: int, config: PoseTsvConfig) -> PoseTsvSource:
    folder = out / f"fold-{fold}"
    paths = {split: str(folder / f"{split}.tsv") for split in ("train", "validation", "test")}
    return PoseTsvSource(PoseTsvConfig(**paths, root=str(get_folds_root(config))))


def content(source: PoseTsvSource, clip: Clip) -> tuple[object, ...]:
    """All of a clip but where it stands."""
    place = (source.get_root(clip.split) / clip.media).as_posix()
    about = (clip.texts, clip.decoder_prompt, clip.signer, clip.document, clip.order)
    return (clip.id, place, clip.span, *about)


@pytest.mark.parametrize("by", ["signer", "document"])
def test_folds(tmp_path: Path, by: Literal["signer", "document"]) -> None:
    config = corpus(tmp_path / "in")
    files = write_folds(config, by=by, num_folds=3, seed=1, out=tmp_path / "out")
    assert [path.relative_to(tmp_path / "out").as_posix() for path in files][:4] == [
        *("fold-0/train.tsv", "fold-0/validation.tsv", "fold-0/test.tsv", "fold-1/train.tsv"),
    ]
    before = PoseTsvSource(config)
    pooled = sorted(
        content(before, c) for s in ("train", "validation") for c in before.list_clips(s)
    )
    held_out: list[str] = []
    for fold in range(3):
        after = fold_source(tmp_path / "out", fold, config)
        train, validation = after.list_clips("train"), after.list_clips("validation")
        assert not {getattr(c, by) for c in train} & {getattr(c, by) for c in validation}
        assert sorted(content(after, clip) for clip in [*train, *validation]) == pooled
        tests = [content(after, clip) for clip in after.list_clips("test")]
        assert tests == [content(before, clip) for clip in before.list_clips("test")]
        held_out += [clip.id for clip in validation]
    assert sorted(held_out) == sorted(str(row[0]) for row in pooled)


def test_the_same_files_again(tmp_path: Path) -> None:
    config = corpus(tmp_path / "in")
    contents = []
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        files = write_folds(config, by="signer", num_folds=2, seed=seed, out=tmp_path / out)
        contents.append([path.read_bytes() for path in files])
    assert contents[0] == contents[1] != contents[2]


def test_folds_are_even_when_groups_are() -> None:
    clips = [Clip(str(n), "train", "a.pose", signer=f"s{n % 10}") for n in range(200)]
    fold_of = assign_folds(clips, "signer", 5, seed=0)
    sizes = [sum(fold_of[clip.signer] == fold for clip in clips) for fold in range(5)]
    assert sizes == [40] * 5


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    config = corpus(tmp_path / "in")
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="nothing is overwritten"):
        write_folds(config, by="signer", num_folds=2, seed=1, out=out)
    assert [path.name for path in out.iterdir()] == ["notes"]


def test_too_few_groups(tmp_path: Path) -> None:
    config = corpus(tmp_path / "in", signers=("anna", "ben"))
    with pytest.raises(InputError, match="3 folds need at least 3 different values of `signer`"):
        write_folds(config, by="signer", num_folds=3, seed=1, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_clips_without_a_group(tmp_path: Path) -> None:
    config = corpus(tmp_path / "in", signers=("anna", "", "ben"))
    with pytest.raises(
        InputError, match=r"10 of 30 clips have no `signer`.*rows\.tsv:3.*signer_pattern"
    ):
        write_folds(config, by="signer", num_folds=2, seed=1, out=tmp_path / "out")


def test_one_fold_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 2"):
        write_folds(corpus(tmp_path / "in"), by="signer", num_folds=1, seed=1, out=tmp_path / "out")
