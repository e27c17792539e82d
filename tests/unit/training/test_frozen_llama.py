"""A language model that knows the corpus's words stays, and learns to see: projector and adapters.

A tiny Llama first reads glosses and sentences, as text; then it stays as it is, and a linear
projector and adapters of rank 32 learn to put poses in the place of glosses. Its short forms are
`test_over_base.py`, which trains the same parts, and `test_context_helps.py`, which learns.
"""

import time
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.source import PoseTsvConfig
from kinesweep.core.clip import Clip
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.sources import build_source
from kinesweep.sources.synthetic import write_sample_corpus
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.loop.run import RunSpec, train_run
from llamas import save_llama, tiny_llama

STEPS = 600


def read(model: LlamaForCausalLM, text: TextTokenizer, clips: list[Clip]) -> None:
    """Trains a language model on `<s>`, glosses, sentence, end."""
    bos = text.vocabulary.bos_id
    rows = [
        torch.tensor([bos, *text.encode_text(c.gloss), *text.encode_target("", c.texts[0])])
        for c in clips
    ]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.1)
    course = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=STEPS, pct_start=0.1)
    random = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        chosen = [rows[i] for i in torch.randint(len(rows), (64,), generator=random)]
        labels_BL = torch.nn.utils.rnn.pad_sequence(chosen, True, -100)
        mask_BL = labels_BL != -100
        ids_BL = labels_BL.masked_fill(~mask_BL, text.vocabulary.pad_id)
        loss = model(input_ids=ids_BL, attention_mask=mask_BL.long(), labels=labels_BL).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        course.step()


def recipe_of(corpus: Path, llama: Path) -> Recipe:
    plain = {
        "name": "frozen",
        "source": {
            "kind": "pose_tsv",
            "train": str(corpus / "train.tsv"),
            "validation": str(corpus / "validation.tsv"),
        },
        "features": {"kind": "pose", "stride": 2},
        "batch": {"batch_size": 64},
        "prompt": {"system": "<s>"},
        "model": {
            "encoder": {"kind": "linear", "dropout": 0.0},
            "backbone": {
                "kind": "causal",
                "pretrained": str(llama),
                "lora": {"rank": 32, "alpha": 64, "dropout": 0.05},
            },
            "tokenizer": {"kind": "pretrained"},
        },
        "training": {
            "stage": "lora",
            "learning_rate": 2e-3,
            "lr_scheduler_type": "cosine",
            "warmup_steps": 50,
            "max_steps": 1000,
            "eval_steps": 500,
            "label_smoothing_factor": 0.1,
        },
        "generation": {"num_beams": 4, "max_new_tokens": 24},
        "evaluation": {"metrics": ["bleu"], "during_training": {"num_beams": 1, "max_clips": 200}},
        "tracking": "none",
    }
    return validate_config(Recipe, plain, "frozen")


@pytest.mark.proof
def test_a_frozen_llama_learns_to_see(tmp_path: Path) -> None:
    started = time.perf_counter()
    corpus = tmp_path / "corpus"
    write_sample_corpus(corpus, workers=1)
    clips = build_source(PoseTsvConfig(train=str(corpus / "train.tsv"))).list_clips("train")
    model, text = tiny_llama([f"{c.gloss} {c.texts[0]}" for c in clips], width=128)
    read(model, text, clips)
    llama = save_llama(tmp_path / "llama", model, text)
    recipe = recipe_of(corpus, llama)
    store = extract_locally(recipe, root=tmp_path / "stores")
    result = train_run(
        RunSpec(recipe, store.folder, tmp_path / "run"), NullRunLogger(), lambda _: True
    )
    seconds = time.perf_counter() - started
    print(f"BLEU {result.scores['bleu']:.1f} in {seconds:.0f} s")
    assert result.scores["bleu"] >= 60
    assert seconds < 600
