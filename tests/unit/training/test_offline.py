"""A backbone folder as Hugging Face alone saves it: found without a network, read exactly, trained.

A tiny M2M-100 with a SentencePiece tokenizer is built and saved here; nothing of ours touches it.
"""

import json
from pathlib import Path

import pytest
import sentencepiece
from transformers import M2M100Config, M2M100ForConditionalGeneration, M2M100Tokenizer

from corpus import tiny_recipe
from fresh_process import run_fresh
from kinesweep.checkpoints.model_dir import read_model_folder
from kinesweep.config.recipe.model import PretrainedTokenizerConfig
from kinesweep.core.clip import Clip
from kinesweep.data.prompt import PromptBuilder
from kinesweep.data.tasks.questions import Example
from kinesweep.data.text_tokenizer import build_tokenizer
from kinesweep.store import Store

TEXTS = ("the sun shines", "rain falls in the north", "the girl is young in the kitchen", "a dog")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("m2m")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 4),
        model_prefix=str(place / "spm"),
        vocab_size=48,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(place / "spm.model"))
    words = ["<s>", "<pad>", "</s>", "<unk>"]
    words += [pieces.id_to_piece(i) for i in range(3, len(pieces))]
    (place / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    tokenizer = M2M100Tokenizer(str(place / "vocab.json"), str(place / "spm.model"))
    saved = place / "saved"
    tokenizer.save_pretrained(saved)
    config = M2M100Config(
        vocab_size=max(tokenizer.lang_token_to_id.values()) + 9,  # eight to spare, as published
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
    )
    M2M100ForConditionalGeneration(config).save_pretrained(saved)
    return saved


def test_prompts_and_labels_token_by_token(folder: Path) -> None:
    """Encoder: prompt, (frames, end); labels: prompt, text, end; nothing that M2M-100 would add."""
    text = build_tokenizer(PretrainedTokenizerConfig(new_tokens=("__asl__",)), [], str(folder))
    pieces = M2M100Tokenizer.from_pretrained(folder)
    clip = Clip(
        id="c",
        split="train",
        media="c.pose",
        texts=("the sun shines",),
        encoder_prompt="__asl__",
        decoder_prompt="__en__",
    )
    tokens = PromptBuilder(text).build_tokens(clip, Example.from_clip(clip))
    plain = pieces.convert_tokens_to_ids(pieces.tokenize("the sun shines"))
    assert len(plain) >= 3 and pieces.unk_token_id not in plain
    english = pieces.get_lang_id("en")
    # After the pieces come the languages, then what is new.
    assert len(pieces) < english < max(pieces.lang_token_to_id.values())
    assert tokens.prompt == (max(pieces.lang_token_to_id.values()) + 1,)
    assert tokens.forced == (english,)
    assert tokens.labels == (english, *plain, pieces.eos_token_id)
    assert text.decode([*tokens.labels, pieces.pad_token_id], tokens.forced) == "the sun shines"


TRAIN = """
import json, socket, sys
from pathlib import Path
asked = []
def refuse(*address, **_):
    asked.append(str(address))
    raise OSError("no network")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from kinesweep.config.recipe import Recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.training.loop.run import RunSpec, train_run
recipe = Recipe.model_validate_json(Path(sys.argv[1]).read_text())
spec = RunSpec(recipe, Path(sys.argv[2]), Path(sys.argv[3]))
result = train_run(spec, NullRunLogger(), lambda metrics: True)
print(json.dumps({"step": result.step, "asked": asked}))
"""


def test_it_trains_without_a_network(
    folder: Path, corpus: Path, store: Store, tmp_path: Path
) -> None:
    recipe = tiny_recipe(
        corpus,
        store.folder.parent,
        model={
            "backbone": {"kind": "seq2seq", "pretrained": str(folder)},
            "tokenizer": {"kind": "pretrained"},
        },
        training={"learning_rate": 3e-3, "max_steps": 20, "eval_steps": 10},
    )
    asked = tmp_path / "recipe.json"
    asked.write_text(recipe.model_dump_json())
    done = run_fresh(TRAIN, [str(asked), str(store.folder), str(tmp_path / "run")])
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    rows = [json.loads(r) for r in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    losses = [row["token_loss"] for row in rows if "token_loss" in row]
    assert result["asked"] == []
    assert result["step"] == 20 and losses[-1] < losses[0]
    loaded = read_model_folder(tmp_path / "run/best")
    assert type(loaded.tokenizer.tokenizer).__name__ == "M2M100Tokenizer"
