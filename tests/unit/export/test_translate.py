"""Raw files get the texts of the evaluation; what cannot be translated is named."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fresh_process import run_fresh
from kinesweep.core.errors import BundleError, ClipError, InputError
from kinesweep.core.hashing import compute_file_hashes
from kinesweep.core.units import Span
from kinesweep.evaluation.evaluate import evaluate_loaded_model
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.export import Bundle, Input, find_inputs, input_translation, verify_bundle
from kinesweep.export.verify import compare_bundle_with_run
from kinesweep.features import pose
from kinesweep.sources import build_source

pytestmark = pytest.mark.integration


@pytest.fixture
def expected(recipe, bundle):
    """Raw file → the text that evaluation wrote for it."""
    source = build_source(recipe.source)
    texts = {p.clip_id: p.hypothesis for p in read_predictions(bundle / "predictions.tsv")}
    assert len(set(texts.values())) > 2, "the run has learnt too little for this test"
    return {
        source.resolve_media_path(clip): texts[clip.id] for clip in source.list_clips("validation")
    }


def test_raw_files_get_the_texts_of_the_evaluation(bundle, expected):
    assert Bundle.load(bundle).translate(list(expected)) == list(expected.values())


def test_also_in_a_fresh_process(bundle, expected):
    code = (
        "import sys; from pathlib import Path; from kinesweep.export import Bundle;"
        " files = [Path(f) for f in sys.argv[2:]];"
        " print('\\n'.join(Bundle.load(Path(sys.argv[1])).translate(files)))"
    )
    done = run_fresh(code, [str(bundle), *map(str, expected)])
    assert done.stdout.splitlines() == list(expected.values()), done.stderr


def test_order_and_number_at_once_do_not_matter(bundle, expected, monkeypatch):
    monkeypatch.setattr(input_translation, "_MAX_FILES_IN_MEMORY", 2)
    files = [*reversed(expected), next(iter(expected))]
    told = []
    lines = Bundle.load(bundle).translate(files, progress=lambda *done: told.append(done))
    assert lines == [expected[file] for file in files]
    assert told == [(2, 7), (4, 7), (6, 7), (7, 7)]
    assert Bundle.load(bundle).translate([]) == []


def test_features_of_a_span_are_those_of_extraction(bundle, recipe, store):
    loaded = Bundle.load(bundle)
    record = store.get_records("validation")[0]
    file = build_source(recipe.source).resolve_media_path(record.clip)
    whole = loaded.compute_features(file)["pose"]
    assert (whole == store.get_features(record)["pose"]).all() and whole.dtype == "float16"
    assert (
        len(loaded.compute_features(file, Span.from_frames(4, 14))["pose"]) == 5
    )  # every other frame


def test_a_model_trained_on_zeros_sees_zeros(bundle, expected):
    loaded = Bundle.load(bundle)
    batch = loaded.loaded.recipe.batch.model_copy(update={"ablation": "zeros"})
    recipe = loaded.loaded.recipe.model_copy(update={"batch": batch})
    blind = replace(loaded, loaded=replace(loaded.loaded, recipe=recipe))
    assert blind.translate(list(expected)) != list(expected.values())


def test_streams_are_cut_as_in_the_evaluation(bundle, expected, store):
    """What `batch.truncate_frames` cuts in evaluation is cut in raw files too."""
    loaded = Bundle.load(bundle)
    batch = loaded.loaded.recipe.batch.model_copy(update={"truncate_frames": {"pose": 6}})
    recipe = loaded.loaded.recipe.model_copy(update={"batch": batch})
    short = replace(loaded, loaded=replace(loaded.loaded, recipe=recipe))
    lines = short.translate(list(expected))
    assert lines != list(expected.values()), "six frames say as much as all"
    scored = {
        p.clip_id: p.hypothesis
        for p in evaluate_loaded_model(short.loaded, store, "validation").predictions
    }
    assert lines == [scored[record.clip.id] for record in store.get_records("validation")]


def test_what_cannot_be_translated_is_named(bundle, expected, tmp_path):
    loaded = Bundle.load(bundle)
    file = next(iter(expected))
    with pytest.raises(ClipError, match=r"none\.pose"):
        loaded.translate([file, tmp_path / "none.pose"])
    with pytest.raises(InputError, match="__gsl__"):
        loaded.translate([Input(file, encoder_prompt="__gsl__")])
    known = loaded.loaded.features["streams"]["pose"]
    turned = [[part, points[::-1]] for part, points in known["layout"]]
    for changes, said in (({"width": 9}, "534 features"), ({"layout": turned}, "but other points")):
        with pytest.raises(BundleError, match=said):
            with_stream(loaded, {**known, **changes}).translate([file])


def test_a_bundle_that_knows_no_points_goes_by_the_width(bundle, expected):
    loaded = Bundle.load(bundle)
    known = dict(loaded.loaded.features["streams"]["pose"])
    del known["layout"]
    file, text = next(iter(expected.items()))
    assert with_stream(loaded, known).translate([file]) == [text]


def with_stream(bundle, stream):
    """The same bundle, told of other features."""
    features = {**bundle.loaded.features, "streams": {"pose": stream}}
    return replace(bundle, loaded=replace(bundle.loaded, features=features))


def test_files_folders_and_tables(bundle, expected, recipe, tmp_path):
    """What they mean is translated alike; a table's rows may lack texts and give prompts."""
    table = Path(recipe.source.validation)
    listed = find_inputs([table], recipe.corpora[0])
    lines = Bundle.load(bundle).translate([clip for _, clip in listed])
    by_file = {clip.file: line for (_, clip), line in zip(listed, lines, strict=True)}
    assert {file: by_file[file] for file in expected} == expected
    file = next(iter(expected))
    assert file in [clip.file for _, clip in find_inputs([file.parent], recipe.corpora[0])]
    bare = table.parent / "bare.tsv"
    bare.write_text(f"signal\tdecoder_prompt\n{file.relative_to(table.parent)}\t__en__\n")
    ((name, clip),) = find_inputs([bare], recipe.corpora[0])
    assert (name, clip.decoder_prompt, clip.encoder_prompt) == (file.stem, "__en__", None)
    bare.unlink()
    for wrong in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match=str(wrong)):
            find_inputs([wrong], recipe.corpora[0])


def test_other_feature_code_is_refused(bundle, monkeypatch):
    monkeypatch.setattr(pose, "CODE_VERSION", -1)
    with pytest.raises(BundleError, match="computes differently"):
        Bundle.load(bundle)


@pytest.mark.slow
def test_a_bundle_is_verified_in_a_fresh_process(bundle, store, run, expected):
    assert verify_bundle(bundle, store.folder, run) == len(expected)


def test_a_text_that_differs_is_found_in_a_fresh_process(bundle, store, run, forked_verification):
    change_predictions(bundle, lambda lines: [lines[0], lines[1].replace("\t", "\tNo. ", 1)])
    with pytest.raises(BundleError, match=r"validation_00000.*'No\. "):
        verify_bundle(bundle, store.folder, run)


def test_a_text_too_few_or_too_many_is_found(bundle, store, run):
    whole = (bundle / "predictions.tsv").read_text()
    for change in (lambda lines: lines[:-1], lambda lines: [*lines, "more\tText.\tText.\n"]):
        (bundle / "predictions.tsv").write_text(whole)
        change_predictions(bundle, change)
        with pytest.raises(BundleError, match="None"):
            compare_bundle_with_run(bundle, store, run)


def test_raw_files_that_give_other_features_are_found(bundle, store, run, expected):
    first, second = list(expected)[:2]
    content = first.read_bytes()
    try:
        first.write_bytes(second.read_bytes())
        with pytest.raises(BundleError, match="other features of `validation_00000`"):
            compare_bundle_with_run(bundle, store, run)
        first.unlink()  # the store alone decides then
        assert compare_bundle_with_run(bundle, store, run) == len(expected)
    finally:
        first.write_bytes(content)


def change_predictions(bundle, change):
    path = bundle / "predictions.tsv"
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))
    (bundle / "manifest.json").unlink()
    manifest = {"format": 1, "files": compute_file_hashes(bundle)}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
