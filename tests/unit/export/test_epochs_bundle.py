"""From the example recipe of augmented epochs to a bundle, which augments nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from films import write_video
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.export import Bundle, Input, export_bundle, verify_bundle
from kinesweep.pipelines.corpus_check import check_corpus
from kinesweep.pipelines.extraction import extract_features, open_existing_store
from kinesweep.pipelines.inputs import load_recipe
from kinesweep.store.extraction.plan import summarize_extraction_plan
from kinesweep.training.loop.run import RunSpec, train_run
from vision import film_corpus, vision_model

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[3]
OVERRIDES = ["training.max_steps=6", "training.eval_steps=3", "tracking=none"]


def test_the_example_goes_all_the_way_and_resumes_to_the_bit(
    tmp_path: Path, forked_verification: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    films = film_corpus(tmp_path / "corpus", train=5, validation=2, test=2)
    for film in (films / "films").iterdir():  # so narrow that the block is seen
        write_video(films / "videos" / "films" / film.name, 20 + int(film.stem))
    monkeypatch.setenv("KINESWEEP_FILMS", str(films))
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KINESWEEP_IMAGE_MODEL", str(vision_model(tmp_path / "dinov2", "dinov2")))
    recipe = load_recipe(ROOT / "jobs/recipes/films_epochs_tiny.yaml", OVERRIDES)
    assert not check_corpus(recipe).invalid_rows
    store = extract_features(recipe, on_ray=False)
    assert store.extraction is not None and store.extraction.computed == 4 + 3 * 5
    assert open_existing_store(recipe).folder == store.folder
    assert summarize_extraction_plan(recipe).splits == {"train": 5, "validation": 2, "test": 2}

    def train(folder: str, stop_after: int | None = None) -> Path:
        reports = iter(range(100))
        logger, spec = NullRunLogger(), RunSpec(recipe, store.folder, tmp_path / folder)
        train_run(spec, logger, lambda _: stop_after is None or next(reports) < stop_after)
        return tmp_path / folder

    whole = train("whole")
    train("parted", stop_after=0)
    parted = train("parted")
    # Two steps an epoch: the run was stopped in the second epoch and continued in it.
    weights = [load_file(next(run.glob("**/best/model.safetensors"))) for run in (whole, parted)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    folder = export_bundle(whole, tmp_path / "bundle", store)
    assert verify_bundle(folder, store.folder, whole) == 2
    bundle = Bundle.load(folder)
    record = store.get_records("validation")[0]
    found = bundle.compute_feature_arrays(Input(films / "videos" / record.clip.media))["video"]
    np.testing.assert_allclose(found, store.get_features(record)["video"], atol=0.02)
