"""A bundle in Hugging Face's Auto classes and pipelines gives the texts of `translate`."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoProcessor, AutoTokenizer, pipeline

import kinesweep as ks
from corpus import tiny_store
from hub_server import hub_environment, serve_hub
from kinesweep.core.errors import BundleError, ConfigError, InputError
from kinesweep.export import Bundle, Input, export_bundle
from kinesweep.export.auto_classes.processor import KinesweepProcessor
from once import made_once

pytestmark = pytest.mark.integration


@pytest.fixture(scope="session")
def bundle(made, run, recipe, tmp_path_factory):
    return (
        made_once(
            tmp_path_factory,
            "auto-bundle",
            lambda folder: export_bundle(run, folder / "bundle", tiny_store(recipe)),
        )
        / "bundle"
    )


@pytest.fixture(scope="session")
def files(made):
    return sorted((made / "corpus").rglob("*.pose"))[:6]


@pytest.fixture(scope="session")
def texts(bundle, files):
    texts = Bundle.load(bundle).translate(files)
    assert len(set(texts)) > 1
    return texts


@pytest.fixture(scope="session")
def translate(bundle):
    return pipeline("motion-to-text", model=str(bundle), device="cpu")


def strip(results):
    return [result["generated_text"] for result in results]


def test_the_pipeline_translates_one_many_and_a_stream(translate, files, texts):
    assert strip(translate(files)) == texts
    assert strip(translate([str(file) for file in files], batch_size=2)) == texts
    assert strip([translate(str(files[0])), translate(files[1])]) == texts[:2]
    assert strip(translate(file for file in files)) == texts
    assert translate([]) == []


def test_the_pipeline_takes_the_options_of_a_bundle(translate, bundle, files, texts):
    loaded = Bundle.load(bundle)
    one = loaded.with_generation(num_beams=1, max_new_tokens=3).translate(files)
    assert one != texts
    assert strip(translate(files, num_beams=1, max_new_tokens=3)) == one
    ready = pipeline("motion-to-text", model=str(bundle), device="cpu", num_beams=1)
    assert strip(ready(files, max_new_tokens=3)) == one
    assert strip(ready(iter_of(files), max_new_tokens=3)) == one
    drawn = {"do_sample": True, "num_beams": 1, "seed": 3, "temperature": 2.0}
    assert strip(translate(files, **drawn)) == loaded.with_generation(**drawn).translate(files)
    with pytest.raises(ConfigError, match="num_beems"):
        translate(files, num_beems=1)
    for batch_size in (-1, 0, "a", 1.5):
        with pytest.raises(InputError, match="`batch_size` must be a whole number"):
            translate(files, batch_size=batch_size)
    assert strip(translate(files, batch_size=None)) == strip(translate(files))
    with pytest.raises(InputError, match="trained without one"):
        translate(files, question="What?")


def iter_of(items):
    yield from items


def test_arrays_of_features_are_translated(translate, bundle, files, texts):
    loaded = Bundle.load(bundle)
    arrays = [loaded.compute_features(file) for file in files]
    assert strip(translate(arrays)) == texts
    (name,) = arrays[0]
    # Features of higher precision are rounded to the type of the store, as in training.
    precise = arrays[0][name].astype(np.float64) * (1 + 1e-5)
    (given,) = AutoProcessor.from_pretrained(str(bundle))(precise)["streams"].values()
    assert torch.equal(given, given.half().float())
    assert strip(translate([arrays[0][name], str(files[1])])) == texts[:2]
    wrong = {
        "frames ×": arrays[0][name][:, 1:],
        "finite": np.full_like(arrays[0][name], np.nan),
        "shape": arrays[0][name][:0],
        "dtype": arrays[0][name].astype(object),
        "is a motion": np.zeros((4, 3, 3)),
        "pass a dictionary": {"other": arrays[0][name]},
    }
    for message, array in wrong.items():
        with pytest.raises(InputError, match=message):
            translate([array])


@pytest.mark.parametrize("clip", [None, 3, b"x", "", [], [1.0], torch.zeros(4, 5), [["a.pose"]]])
def test_what_is_no_clip_is_refused_by_its_type(translate, clip):
    with pytest.raises(InputError, match=r"a clip must be a path.*but is .* of the type"):
        translate([clip])


def test_features_beyond_the_dtype_of_the_store_are_refused(translate, bundle):
    """As infinite numbers they would be translated to some text."""
    (schema,) = ks.load_bundle(bundle).stream_schemas.values()
    x_TD = np.full((9, schema.width), 1e39)
    with pytest.raises(InputError, match=r"must fit into float\d\d.* the largest is 1e\+39"):
        translate(x_TD)


def test_processor_and_model_translate_by_hand(bundle, files, texts):
    processor = AutoProcessor.from_pretrained(str(bundle))
    model = AutoModel.from_pretrained(str(bundle)).eval()
    assert isinstance(processor, KinesweepProcessor)
    inputs = processor(files).to("cpu")
    (streams,) = inputs["streams"].values()
    assert streams.dtype == torch.float32 and len(streams) == len(files)
    # Rounded to the type of the store, as in training.
    assert torch.equal(streams, streams.half().float())
    ids = model.generate(**inputs, **processor.get_generation_kwargs(inputs))
    assert processor.batch_decode(ids, inputs["forced_ids"]) == texts
    kwargs = processor.get_generation_kwargs(inputs, num_beams=1, max_new_tokens=3)
    one = processor.batch_decode(model.generate(**inputs, **kwargs))
    expected = Bundle.load(bundle).with_generation(num_beams=1, max_new_tokens=3).translate(files)
    assert one == expected
    single = processor(Input(files[0]))
    assert single["clip_ids"] == (files[0].name,)
    with pytest.raises(InputError, match="no clips"):
        processor([])
    with pytest.raises(InputError, match="copy the"):
        processor.save_pretrained(bundle)


def test_what_is_no_bundle_is_refused(run, bundle, tmp_path, files):
    with pytest.raises(BundleError, match=r"not a bundle: manifest\.json is missing"):
        AutoProcessor.from_pretrained(str(run / "best"))
    with pytest.raises(BundleError, match="needs a bundle"):
        model, tokenizer = (c.from_pretrained(str(bundle)) for c in (AutoModel, AutoTokenizer))
        pipeline("motion-to-text", model=model, processor=tokenizer)


CODE = """
import json, sys
ORDER
name, *files = sys.argv[1:]
translate = pipeline("motion-to-text", model=name)
model, processor = AutoModel.from_pretrained(name), AutoProcessor.from_pretrained(name)
inputs = processor(files)
ids = model.generate(**inputs, **processor.get_generation_kwargs(inputs))
print(json.dumps([translate(files), processor.batch_decode(ids)]))
"""
IMPORTS = ["import kinesweep", "from transformers import AutoModel, AutoProcessor, pipeline"]


@pytest.mark.slow
@pytest.mark.parametrize("order", [IMPORTS, IMPORTS[::-1]], ids=["first", "last"])
def test_a_new_process_loads_it_by_its_name_on_the_hub(order, bundle, files, texts, tmp_path):
    code = CODE.replace("ORDER", "\n".join(order))
    with serve_hub() as hub:
        env = {**os.environ, **hub_environment(hub, tmp_path), "OMP_NUM_THREADS": "1"}
        env["PYTHONPATH"] = os.path.dirname(os.path.dirname(ks.__file__))
        push = f"import kinesweep as ks; ks.push_bundle({str(bundle)!r}, 'lab/signs', True)"
        run_code(push, env=env)
        done = run_code(code, "lab/signs", *map(str, files[:3]), env=env)
    piped, decoded = json.loads(done.splitlines()[-1])
    assert strip(piped) == decoded == texts[:3]


def run_code(code, *arguments, env):
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=env
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
