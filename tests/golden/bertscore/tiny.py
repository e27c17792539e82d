"""Texts and tiny models on which the package bert-score was run; weights follow a formula."""

import json
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

HYPOTHESES = {
    "a": "Keep your left hand up, don't drop the guard.",
    "b": "Turn the hips more when you punch.",
    "c": "The guard is up",
    "d": "Bend your knees. Keep the chin down!",
    "e": "Step forward with the left foot, then punch with the right hand.",
    "f": "",
}
REFERENCES = {
    "a": ("Keep the left hand up; your guard drops.", "Your left guard is too low."),
    "b": ("You don't turn your hips.", "Turn the hips and the back foot more.", "More hips!"),
    "c": ("The guard is up",),
    "d": ("Bend the knees more. Chin down.", "Keep your chin down, bend your knees and turn."),
    "e": ("Step with the left foot before you punch.",),
    "f": ("Keep the hands up.",),
}
"""Sentences of a coach: several references, empty text, punctuation inside, an exact match."""
BASELINE = "LAYER,P,R,F\n0,0.1,0.2,0.15\n1,0.31,0.29,0.3\n2,0.22,0.24,0.23\n"
"""The format of the package's files of baselines."""


class Case(NamedTuple):
    kind: str
    idf: bool
    rescale: bool
    layer: int


CASES = [
    Case(kind, idf, rescale, 1 if idf else 2)
    for kind, idf, rescale in product(("bert", "roberta"), (False, True), (False, True))
]


def name_of(case: Case) -> str:
    return f"{case.kind}-{'idf' if case.idf else 'plain'}-{'rescaled' if case.rescale else 'raw'}"


def build(folder: Path, kind: str) -> str:
    return build_bert(folder) if kind == "bert" else build_roberta(folder)


_WORDS = sorted(
    {
        word
        for texts in ([*HYPOTHESES.values()], *REFERENCES.values())
        for text in texts
        for word in text.lower().replace("don't", "don ' t").translate({44: " , "}).split()
    }
)
_SIZE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


def build_bert(folder: Path) -> str:
    """A BERT model that lower-cases and splits words, with a few words unknown."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *".,;!'", *_WORDS[::2], "the", "your"]
    vocabulary = list(dict.fromkeys(words))
    folder.mkdir(parents=True)
    config = BertConfig(vocab_size=len(vocabulary), intermediate_size=32, **_SIZE)
    _fill(BertModel(config)).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    _write_tokenizer_config(folder, "BertTokenizer", do_lower_case=True, model_max_length=512)
    return str(folder)


def build_roberta(folder: Path) -> str:
    """A RoBERTa model of letters and a few pairs of them, where a space is part of a word."""
    folder.mkdir(parents=True)
    letters = [chr(code) for code in range(33, 127)] + ["Ġ"]
    pairs = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("Ġ", "k"), ("Ġ", "g"), ("u", "r"), ("o", "ur")]
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocabulary = [*special, *letters, *(left + right for left, right in pairs)]
    config = RobertaConfig(
        vocab_size=len(vocabulary),
        intermediate_size=32,
        max_position_embeddings=130,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        **_SIZE,
    )
    _fill(RobertaModel(config)).save_pretrained(folder)
    numbers = {word: index for index, word in enumerate(vocabulary)}
    (folder / "vocab.json").write_text(json.dumps(numbers), encoding="utf-8")
    merges = "\n".join(f"{left} {right}" for left, right in pairs)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    _write_tokenizer_config(folder, "RobertaTokenizer", model_max_length=128)
    return str(folder)


def _fill(model: torch.nn.Module) -> torch.nn.Module:
    """Give a model weights by a formula, which no random number generator changes."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2:
                # Versions of transformers order parameters differently, so the name counts.
                positions = torch.arange(parameter.numel(), dtype=torch.float64) + sum(
                    name.encode()
                )
                values = torch.sin(positions * 12.9898) * 43758.5453
                parameter.copy_((values - values.floor() - 0.5).reshape(parameter.shape))
            else:
                parameter.fill_(float("weight" in name))
    return model


def _write_tokenizer_config(folder: Path, name: str, **settings: object) -> None:
    content = {"tokenizer_class": name, **settings}
    (folder / "tokenizer_config.json").write_text(json.dumps(content), encoding="utf-8")
