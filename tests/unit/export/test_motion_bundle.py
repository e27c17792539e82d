"""A bundle of a model of skeletons: a file of one motion gives the text of the evaluation."""

from pathlib import Path

import numpy as np
import pytest

from kinesweep.core.errors import BundleError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.core.units import Span
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.export import Bundle, Input, export_bundle, find_inputs
from kinesweep.export.verify import compare_bundle_with_run
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.loop.run import RunSpec, train_run
from skeletons import HEADER, VALIDATION, motions, skeleton_recipe, write_pack, write_rows

pytestmark = pytest.mark.integration


def test_one_motion_is_translated_as_in_its_pack(tmp_path: Path) -> None:
    stored = motions(8)
    write_pack(tmp_path / "all.npz", stored)
    recipe = skeleton_recipe(tmp_path)
    store, run = extract_locally(recipe), tmp_path / "run"
    train_run(RunSpec(recipe, store.folder, run), NullRunLogger(), lambda _: True)
    folder = export_bundle(run, tmp_path / "bundle", store)
    assert compare_bundle_with_run(folder, store, run) == 2
    np.save(tmp_path / "v1.npy", stored[7])
    bundle = Bundle.load(folder)
    wanted = {p.clip_id: p.hypothesis for p in read_predictions(run / "predictions/validation.tsv")}
    found = bundle.translate([Input(tmp_path / "v1.npy", Span.from_frames(1, 0))])
    assert found == [wanted["v1"]]
    assert str(tmp_path) not in (folder / "recipe.yaml").read_text()
    names = [name for name, _ in find_inputs([tmp_path / "v1.npy"], recipe.corpora[0])]
    assert names == [str(tmp_path / "v1.npy")]
    rows = find_inputs(
        [Path(write_rows(tmp_path / "all.tsv", HEADER, VALIDATION[1:]))], recipe.corpora[0]
    )
    assert bundle.translate([clip for _, clip in rows]) == [wanted[name] for name, _ in rows]
    stored[6][0, 5, 0] += 1
    write_pack(tmp_path / "all.npz", stored)
    with pytest.raises(BundleError, match="computes other features of `v0`"):
        compare_bundle_with_run(folder, store, run)
