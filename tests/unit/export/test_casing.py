"""A model that is trained on lower case writes case: in its run's predictions and its bundle."""

import pytest

from corpus import tiny_corpus, tiny_recipe, tiny_store
from kinesweep.core.errors import BundleError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.data.text_tokenizer import CASING_FILE
from kinesweep.data.truecase import learn_truecaser
from kinesweep.evaluation.evaluate import evaluate_model
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.export import export_bundle
from kinesweep.export.verify import compare_bundle_with_run
from kinesweep.training.loop.run import RunSpec, train_run

pytestmark = pytest.mark.integration


def test_predictions_scores_and_bundle_have_it(tmp_path, recipe):
    plain = recipe.model.model_dump(mode="json")
    plain["tokenizer"]["lowercase"] = True
    own = tiny_recipe(
        tiny_corpus(tmp_path),
        tmp_path / "stores",
        model=plain,
        training=recipe.training.model_dump(mode="json") | {"max_steps": 60, "eval_steps": 60},
        generation={"truecase": True},
    )
    store, run = tiny_store(own), tmp_path / "run"
    result = train_run(RunSpec(own, store.folder, run), NullRunLogger(), lambda _: True)
    assert result.status == "finished"
    said = [line.hypothesis for line in read_predictions(run / "predictions/validation.tsv")]
    truecaser = learn_truecaser(record.clip.texts[0] for record in store.get_records("train"))
    assert all(text == truecaser.restore_case(text.lower()) for text in said)
    assert any(text != text.lower() for text in said)

    bundle = export_bundle(run, tmp_path / "bundle", store)
    assert compare_bundle_with_run(bundle, store, run) == len(said)
    without = own.generation.model_copy(update={"truecase": False})
    lower = evaluate_model(run / "best", store, "validation", without, own.evaluation)
    assert [line.hypothesis for line in lower.predictions] == [text.lower() for text in said]

    (bundle / CASING_FILE).write_text('{"forms": null}')
    with pytest.raises(BundleError, match=rf"`{CASING_FILE}` was changed"):
        compare_bundle_with_run(bundle, store, run)
