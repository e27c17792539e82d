"""A model is asked one thing in pretraining and another in fine-tuning, by recipes alone."""

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch

from corpus import tiny_recipe
from kinesweep.checkpoints.model_dir import read_model_folder
from kinesweep.config.recipe import Recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.data.evaluation import build_eval_batches
from kinesweep.models import Translator
from kinesweep.store import Store
from kinesweep.training.loop.run import RunSpec, train_run, write_initial_model
from kinesweep.training.run_records.result import RunResult

pytestmark = pytest.mark.integration

DESCRIBE, INSTRUCT = "Motion Description : ", "Motion Instruction : "
T5 = {"architecture": "t5", "d_model": 16, "d_kv": 8, "d_ff": 32, "num_heads": 2, "num_layers": 1}
LLAMA = {
    "architecture": "llama",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 512,
}
BACKBONES = [{"kind": "seq2seq", "scratch": T5}, {"kind": "causal", "scratch": LLAMA}]


def stage(
    corpus: Path, store: Store, question: str, backbone: dict[str, Any], **model: Any
) -> Recipe:
    spelt = {"kind": "train", "algorithm": "bpe", "size": 200, "new_tokens": ["Instruction"]}
    return tiny_recipe(
        corpus,
        store.folder.parent,
        prompt={"question": question},
        model={"backbone": backbone, "tokenizer": spelt, **model},
        training={"max_steps": 4, "eval_steps": 4},
    )


def train(recipe: Recipe, store: Store, folder: Path) -> RunResult:
    return train_run(RunSpec(recipe, store.folder, folder), NullRunLogger(), lambda _: True)


Asked = list[tuple[int, ...]]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Prompts that models have read, in training and in evaluation."""
    found: Asked = []
    joined = Translator.build_inputs_embeds

    def see(model: Translator, streams: Any, masks: Any = None, *parts: Any, **named: Any) -> Any:
        ids_BP, mask_BP = parts[:2] if parts else (named["prompt_ids"], named["prompt_mask"])
        rows = zip(ids_BP, mask_BP, strict=True)
        found.extend(tuple(ids_P[mask_P].tolist()) for ids_P, mask_P in rows)
        given = [] if masks is None else [masks]
        return joined(model, streams, *given, *parts, **named)

    monkeypatch.setattr(Translator, "build_inputs_embeds", see)
    return found


@pytest.mark.parametrize("backbone", BACKBONES, ids=["t5", "llama"])
def test_each_stage_asks_its_own_question(
    corpus: Path, store: Store, tmp_path: Path, backbone: dict[str, Any], read: Asked
) -> None:
    first = stage(corpus, store, DESCRIBE, backbone)
    train(first, store, tmp_path / "first")
    asked = {"first": set(read)}
    read.clear()
    learnt = str(tmp_path / "first" / "best")
    second = stage(corpus, store, INSTRUCT, backbone, init_from=learnt)
    write_initial_model(second, store, tmp_path / "begun")
    ours, theirs = (
        safetensors.torch.load_file(Path(place) / "model.safetensors")
        for place in (tmp_path / "begun", learnt)
    )
    assert ours.keys() == theirs.keys() and all(ours[key].equal(theirs[key]) for key in ours)
    train(second, store, tmp_path / "second")
    asked["second"] = set(read)
    for name, words in (("first", DESCRIBE), ("second", INSTRUCT)):
        loaded = read_model_folder(tmp_path / name / "best")
        assert loaded.recipe.prompt.question == words
        prompt_settings = loaded.recipe.prompt_settings
        batch = build_eval_batches(
            store, "validation", loaded.tokenizer, 4096, prompt_settings=prompt_settings
        )[0]
        assert batch.prompt_mask_BP.all()
        for ids_P in batch.prompt_ids_BP:
            assert loaded.tokenizer.tokenizer.unk_token_id not in ids_P
            said = loaded.tokenizer.tokenizer.decode(ids_P, skip_special_tokens=False)
            assert said.split() == words.split()
        (ids,) = asked[name]
        assert (
            loaded.tokenizer.tokenizer.decode(ids, skip_special_tokens=False).split()
            == words.split()
        )


def test_words_that_the_earlier_stage_never_saw_are_named(
    corpus: Path, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = {"tokenizer": {"kind": "train", "algorithm": "word", "size": 256}}
    tiny = tiny_recipe(corpus, store.folder.parent).model.backbone.model_dump(mode="json")
    first = stage(corpus, store, DESCRIBE, tiny, **words)
    train(first, store, tmp_path / "first")
    begun = {"init_from": str(tmp_path / "first" / "best"), **words}
    second = stage(corpus, store, INSTRUCT, tiny, **begun)
    train(second, store, tmp_path / "second")
    # The tiny tokenizer does not know all texts either, which is a warning of its own.
    (warning,) = (text for text in caplog.messages if "has no pieces for" in text)
    assert "has no pieces for `Instruction` of this run's `prompt`" in warning
    caplog.clear()
    train(
        stage(corpus, store, f"Description : {DESCRIBE}", tiny, **begun), store, tmp_path / "third"
    )
    assert not any("has no pieces for" in text for text in caplog.messages)
