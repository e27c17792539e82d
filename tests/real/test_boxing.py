"""Real boxing clips: listed, extracted, dealt out to folds in which no athlete is on both sides."""

import os
from pathlib import Path

import numpy as np
import pytest

from kinesweep.config.recipe.skeletons import SkeletonFeaturesConfig, SkeletonsConfig
from kinesweep.core.skeleton.skeleton import SMPL_22
from kinesweep.features import build_features
from kinesweep.sources.skeletons.skeletons import SkeletonsSource
from kinesweep.sources.splitting.cross_validation import get_folds_root, write_folds
from kinesweep.store import Store
from kinesweep.store.extraction.build import build_store, compute_chunks_locally
from kinesweep.store.extraction.corpus_scan import ExtractionSpec

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("KINESWEEP_REAL_DATA", ROOT.parent / "shared" / "data")).absolute()
BOXING = DATA / "boxing"
pytestmark = pytest.mark.skipif(not BOXING.is_dir(), reason=f"no real data in {DATA}")
FEATURES = SkeletonFeaturesConfig(kind="skeleton", centre="each", scale="bone")


def config(**changes: str) -> SkeletonsConfig:
    plain = {
        "kind": "skeletons",
        "train": str(BOXING / "bx_train.tsv"),
        "fps": 30,
        "columns": {"gloss": "motion_type"},
        "signer_pattern": "^([^_]+)_",
        "ignore_columns": ["camera", "frames", "all_refs"],
    }
    return SkeletonsConfig.model_validate({**plain, **changes})


def extract(corpus: SkeletonsConfig, root: Path) -> Store:
    source = SkeletonsSource(corpus)
    step = build_features(FEATURES)
    extraction = ExtractionSpec(
        source, step, root, dtype="float32", read_options=source.get_read_options()
    )
    return build_store(extraction, compute_chunks_locally)


def test_163_clips_of_10_athletes_are_listed() -> None:
    source = SkeletonsSource(config())
    clips = source.list_clips("train")
    assert len(clips) == 163 and source.check_clips() == []
    assert {len(clip.texts) for clip in clips} == {3}
    assert {clip.gloss for clip in clips} == {"Jab", "Cross"}
    assert {clip.signer for clip in clips} == set("0123456789")
    frames = [len(source.read(clip).pose.points_TPJC) for clip in clips]
    assert (sum(frames), min(frames), max(frames)) == (9984, 32, 96)


def test_they_are_extracted_whole(tmp_path: Path) -> None:
    store = extract(config(), tmp_path)
    records = store.get_records("train")
    assert len(records) == 163 and store.manifest["dropped"]["total"] == 0
    stream = store.schema.streams["pose"]
    assert (stream.width, stream.rate_hz, stream.layout) == (66, 30, SMPL_22.layout)
    x_TJC = store.get_features(records[0])["pose"].reshape(-1, 22, 3)
    lengths = [np.linalg.norm(x_TJC[:, a] - x_TJC[:, b], axis=-1).mean() for a, b in SMPL_22.bones]
    assert np.mean(lengths) == pytest.approx(1, abs=1e-5) and (x_TJC[:, 0] == 0).all()


def test_three_folds_share_no_athlete(tmp_path: Path) -> None:
    files = write_folds(config(), by="signer", num_folds=3, seed=0, out=tmp_path / "folds")
    whole = {clip.id: clip for clip in SkeletonsSource(config()).list_clips("train")}
    held: list[str] = []
    for fold in range(3):
        train, validation = (str(path) for path in files[2 * fold : 2 * fold + 2])
        changed = config(train=train, validation=validation, motions=str(BOXING / "bx_train.npz"))
        source = SkeletonsSource(changed)
        assert get_folds_root(changed) == BOXING / "bx_train.npz"
        kept, out = source.list_clips("train"), source.list_clips("validation")
        assert len(kept) + len(out) == 163
        assert {clip.signer for clip in kept}.isdisjoint(clip.signer for clip in out)
        assert 45 <= len(out) <= 65
        for clip in out:
            assert (clip.media, clip.texts) == (whole[clip.id].media, whole[clip.id].texts)
        held += [clip.id for clip in out]
        assert source.check_clips() == []
    assert sorted(held) == sorted(whole)
