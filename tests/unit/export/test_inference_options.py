"""Own prompts, sampling and vectors of a bundle; a causal and an encoder-decoder model."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corpus import tiny_corpus, tiny_recipe, tiny_store
from kinesweep.checkpoints.model_dir import read_model_folder
from kinesweep.cli import main
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import ConfigError, InputError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.evaluation.evaluate import evaluate_loaded_model
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.export import Bundle, Input, export_bundle
from kinesweep.export.inference.clip_names import name_inputs
from kinesweep.export.verify import compare_bundle_with_run
from kinesweep.models.backbones import BACKBONES
from kinesweep.sources import build_source
from kinesweep.store import Store
from kinesweep.training.loop.run import RunSpec, train_run

pytestmark = pytest.mark.integration

LLAMA = {"architecture": "llama", "hidden_size": 32, "intermediate_size": 64}
LLAMA |= {"num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 256}
SAMPLED = {"num_beams": 1, "do_sample": True, "temperature": 0.9, "seed": 3, "max_new_tokens": 12}


def recipe_of(folder: Path, **changes: Any) -> Recipe:
    """Side tasks and a question as Sign_LLaVA has them; texts are drawn."""
    plain: dict[str, Any] = {
        "batch": {"batch_size": 8, "tasks": {"reversed": 0.5, "word_present": 0.2}},
        "prompt": {"question": "Translate what is signed:"},
        "model": {"backbone": {"kind": "causal", "scratch": LLAMA}},
        "training": {"learning_rate": 5e-3, "max_steps": 120, "eval_steps": 60},
        "generation": SAMPLED,
        "evaluation": {"tasks": {"reversed": {}}, "max_frames": 200},
    }
    return tiny_recipe(folder / "corpus", folder / "stores", **{**plain, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("options")
    tiny_corpus(made)
    store = tiny_store(recipe_of(made))
    spec = RunSpec(recipe_of(made), store.folder, made / "run")
    train_run(spec, NullRunLogger(), lambda _: True)
    export_bundle(made / "run", made / "bundle", store)
    return made


@pytest.fixture(scope="module")
def store(folder: Path) -> Store:
    return tiny_store(recipe_of(folder))


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return Bundle.load(folder / "bundle", "cpu")


@pytest.fixture(scope="module")
def files(folder: Path, store: Store) -> list[Path]:
    source = build_source(recipe_of(folder).source)
    return [source.resolve_media_path(r.clip) for r in store.get_records("validation")]


def test_drawn_texts_are_those_of_the_run(folder: Path, store: Store) -> None:
    """In batches of few frames, in one batch, and in the verification of the bundle."""
    written = {
        p.clip_id: p.hypothesis for p in read_predictions(folder / "bundle" / "predictions.tsv")
    }
    loaded = read_model_folder(folder / "bundle")
    wide = loaded.recipe.evaluation.model_copy(update={"max_frames": 100_000})
    torch.manual_seed(123)
    assert evaluate_loaded_model(loaded, store, "validation", None, wide).hypotheses == written
    assert compare_bundle_with_run(folder / "bundle", store, folder / "run") == len(written)
    other = loaded.recipe.generation.with_changes(seed=4)
    assert evaluate_loaded_model(loaded, store, "validation", other).hypotheses != written
    settings = json.loads((folder / "bundle" / "generation_config.json").read_text())
    assert settings["do_sample"] is True and settings["temperature"] == 0.9
    assert "`seed: 3`" in (folder / "bundle" / "README.md").read_text()


def test_a_file_has_the_same_draws_in_any_list(bundle: Bundle, files: list[Path]) -> None:
    texts = bundle.translate(files)
    assert bundle.translate(files[::-1]) == texts[::-1]
    assert [bundle.translate([file])[0] for file in files[:3]] == texts[:3]
    assert bundle.with_generation(seed=9).translate(files) != texts
    searched = bundle.with_generation(do_sample=False, temperature=None, seed=None)
    assert searched.translate(files) == searched.translate(files) != texts
    with pytest.raises(ConfigError, match="needs `num_beams: 1`"):
        bundle.with_generation(num_beams=2)


def test_equal_names_are_numbered() -> None:
    inputs = [
        Input(Path("a/x.pose")),
        Input(Path("b/x.pose")),
        Input(Path("y"), streams={"s": Input(Path("z"))}),
    ]
    assert name_inputs(inputs) == ["x.pose", "x.pose#2", "s=z"]


def test_a_question_of_a_task_is_answered_as_in_its_evaluation(
    folder: Path, store: Store, bundle: Bundle, files: list[Path]
) -> None:
    rows = csv.DictReader(
        (folder / "run" / "predictions" / "validation_reversed.tsv").open(), delimiter="\t"
    )
    answers = {row["id"]: row["text"] for row in rows if row["reversed"] == "0"}
    assert len(answers) >= 2
    greedy = bundle.with_generation(do_sample=False, temperature=None, seed=None)
    question = bundle.loaded.recipe.prompt.reversed
    texts = greedy.translate(files, question=question)
    ids = [record.clip.id for record in store.get_records("validation")]
    asked = dict(zip(ids, texts, strict=True))
    assert {clip: asked[clip] for clip in answers} == answers
    assert greedy.translate(files) != texts


def test_problems_of_changed_decoding_are_named(bundle: Bundle) -> None:
    with pytest.raises(ConfigError) as caught:
        bundle.with_generation(temperature=-1, nope=1)
    assert [key for key, _ in caught.value.problems] == ["temperature", "nope"]
    assert "pydantic" not in str(caught.value)


def test_prompts_that_the_model_never_read_are_refused(bundle: Bundle, files: list[Path]) -> None:
    with pytest.raises(InputError, match=r"`system` cannot be given.*reads.*`question`"):
        bundle.translate(files, system="You translate.")
    with pytest.raises(InputError, match="`prompt` cannot be given"):
        bundle.translate(files, prompt="__asl__")
    prompted = replace(bundle, encoder_prompt="Translate")
    assert prompted.with_prompts(prompt="what").encoder_prompt == "what"
    chat = bundle.loaded.recipe.prompt.model_copy(update={"system": "S"})
    recipe = bundle.loaded.recipe.model_copy(update={"prompt": chat})
    told = replace(bundle, loaded=replace(bundle.loaded, recipe=recipe)).with_prompts(system="T")
    assert told.loaded.recipe.prompt.system == "T"


def test_a_question_of_a_task_has_no_decoder_prompt(bundle: Bundle) -> None:
    forced = replace(bundle, decoder_prompt="The")
    question = bundle.loaded.recipe.prompt.word_present.format(word="CAT")
    assert forced.with_prompts(question=question).decoder_prompt == ""
    assert forced.with_prompts(question="Say it:").decoder_prompt == "The"


def test_vectors_of_clips(bundle: Bundle, files: list[Path]) -> None:
    clips = bundle.embed(files)
    assert [clip.text for clip in clips] == bundle.translate(files)
    model = bundle.loaded.model
    for file, clip in zip(files, clips, strict=True):
        features = bundle.compute_input_features(Input(file))
        (name,) = clip.streams
        x_TD = torch.from_numpy(features[name].x_TD.astype(np.float32))[None]
        with torch.no_grad():
            expected, _ = model.encoders[name](x_TD, torch.ones(x_TD.shape[:2], dtype=torch.bool))
            logits = model.backbone.get_output_embeddings()(torch.from_numpy(clip.hidden_states))
        np.testing.assert_allclose(clip.streams[name], expected[0], atol=1e-5)
        np.testing.assert_allclose(clip.pooled[name], clip.streams[name].mean(axis=0))
        times = clip.times_s[name]
        assert times.shape == (len(clip.streams[name]), 2) and times[0, 0] == 0
        assert times[-1, 1] == pytest.approx(x_TD.shape[1] / features[name].rate_hz)
        assert clip.hidden_states.shape == (len(clip.token_ids), 32) == (len(clip.tokens), 32)
        # The hidden states are those from which the tokens follow: greedy tokens are the likeliest.
        assert logits.shape[0] == len(clip.token_ids)
    greedy = bundle.with_generation(do_sample=False, temperature=None, seed=None)
    for clip in greedy.embed(files[:2]):
        with torch.no_grad():
            logits = model.backbone.get_output_embeddings()(torch.from_numpy(clip.hidden_states))
        assert logits.argmax(dim=1).tolist() == clip.token_ids.tolist()
    twice = bundle.embed([Input(files[0])] * 2)
    assert np.array_equal(twice[0].pooled[name], twice[1].pooled[name])


def run_cli(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(words))
    return int(left.value.code or 0)


def test_the_command_line(
    folder: Path,
    bundle: Bundle,
    files: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, file = str(folder / "bundle"), str(files[0])
    assert run_cli("embed", path, file, "--out", str(tmp_path / "out")) == 0
    saved = np.load(tmp_path / "out" / "000000.npz", allow_pickle=False)
    (clip,) = bundle.embed([files[0]])
    assert set(saved) == set(clip.to_arrays())
    assert np.array_equal(saved["hidden_states"], clip.hidden_states)
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert index["clips"][0]["text"] == clip.text
    assert run_cli("embed", path, file, "--out", str(tmp_path / "out")) == 2
    capsys.readouterr()
    assert run_cli("translate", path, file, "--seed", "9", "--question", "Say it:") == 0
    said = capsys.readouterr().out.strip().split("\t")[1]
    other = bundle.with_generation(seed=9).translate([files[0]], question="Say it:")
    assert said == other[0]
    assert run_cli("translate", path, file, "--system", "You") == 2
    for temperature in ("0", "1e-39", "inf"):
        told = ("--sample", "--temperature", temperature)
        assert run_cli("translate", path, file, *told) == 2
    drawn = ("--seed", "9", "--out", str(tmp_path / "drawn"))
    assert run_cli("embed", path, file, "--question", "Say it:", *drawn) == 0
    index = json.loads((tmp_path / "drawn" / "index.json").read_text())
    assert index["clips"][0]["text"] == said


def test_hidden_states_of_encoder_decoders(folder: Path, store: Store) -> None:
    """The output layer makes the logits of them, for every architecture that scales none."""
    from kinesweep.data.evaluation import build_eval_batches
    from kinesweep.training.loop.run import write_initial_model

    recipe = tiny_recipe(folder / "corpus", folder / "stores")
    write_initial_model(recipe, store, folder / "seq2seq")
    loaded = read_model_folder(folder / "seq2seq")
    (batch, *_) = build_eval_batches(store, "validation", loaded.tokenizer, 10_000)
    model = loaded.model
    with torch.no_grad():
        x_BNE, mask_BN = model.build_inputs_embeds(**batch.get_generate_kwargs())
        ops = BACKBONES["seq2seq"]
        hidden = ops.compute_hidden_states(model.backbone, x_BNE, mask_BN, batch.labels_BL)
        logits = ops.compute_logits(model.backbone, x_BNE, mask_BN, batch.labels_BL)
        torch.testing.assert_close(model.backbone.get_output_embeddings()(hidden), logits)
