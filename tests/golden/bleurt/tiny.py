"""Tiny BLEURT checkpoints in the format of the package bleurt-pytorch, made without it.

`write` makes `wide` (an embedding width of its own and SentencePiece, like BLEURT-20) and `plain`
(BERT's shape and WordPiece, like bleurt-tiny-128). Weights come from a counter and a sine, so they
are the same in any version of torch.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from sentencepiece import sentencepiece_model_pb2 as proto

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = ("the", "sun", "shines", "rain", "falls", "north", "in", "clouds", "grow", "wind")
LETTERS = "abcdefghijklmnopqrstuvwxyz.,"
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 24,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "num_labels": 1,
}
PAIRS = (
    ("the sun shines in the north", "the sun shines in the north"),
    ("the sun shines in the north", "rain falls, the wind grows"),
    ("Clouds grow.", "clouds grow"),
    ("rain", "the rain falls in the north and the clouds grow and grow and grow"),
    ("wind, wind, wind and rain falls in the north, the sun never shines", "sun"),
)
"""References and hypotheses; the longest are truncated."""


def write(folder: Path, kind: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    words = [*SPECIAL, *(f"\u2581{word}" for word in WORDS), "\u2581", *LETTERS]
    if kind == "plain":
        words = [*SPECIAL, *WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
        (folder / "vocab.txt").write_text("\n".join(words) + "\n")
        (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    else:
        (folder / "spm.model").write_bytes(spm(words))
        tokens = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
        settings = {"tokenizer_class": "BleurtSPTokenizer", "do_lower_case": False, **tokens}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    config = {"model_type": "bleurt", "architectures": ["BleurtForSequenceClassification"]}
    config |= {"vocab_size": len(words), "pad_token_id": 0, **SIZES}
    config |= {"embedding_size": 8} if kind == "wide" else {}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(weights(len(words), 8 if kind == "wide" else None), folder / "model.safetensors")
    return folder


def spm(words: list[str]) -> bytes:
    model = proto.ModelProto()
    model.trainer_spec.model_type = proto.TrainerSpec.UNIGRAM
    model.trainer_spec.unk_id, model.trainer_spec.pad_id = 1, 0
    model.trainer_spec.bos_id, model.trainer_spec.eos_id = 2, 3
    model.trainer_spec.unk_piece, model.trainer_spec.pad_piece = "[UNK]", "[PAD]"
    model.trainer_spec.bos_piece, model.trainer_spec.eos_piece = "[CLS]", "[SEP]"
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.remove_extra_whitespaces = True
    model.normalizer_spec.escape_whitespaces = True
    piece_types = proto.ModelProto.SentencePiece
    for index, word in enumerate(words):
        piece = model.pieces.add()
        piece.piece, piece.score = word, -0.1 * index
        piece.type = piece_types.NORMAL if index >= len(SPECIAL) else piece_types.CONTROL
        if word == "[UNK]":
            piece.type = piece_types.UNKNOWN
        if word == "[MASK]":
            piece.type = piece_types.USER_DEFINED
    return model.SerializeToString()


def weights(vocabulary: int, embedding: int | None) -> dict[str, torch.Tensor]:
    hidden, inner = SIZES["hidden_size"], SIZES["intermediate_size"]
    width = embedding or hidden
    shapes: dict[str, tuple[int, ...]] = {
        "bleurt.embeddings.word_embeddings.weight": (vocabulary, width),
        "bleurt.embeddings.position_embeddings.weight": (SIZES["max_position_embeddings"], width),
        "bleurt.embeddings.token_type_embeddings.weight": (2, width),
        **norm("bleurt.embeddings.LayerNorm", width),
        **linear("bleurt.pooler.dense", hidden, hidden),
        **linear("classifier", hidden, 1),
    }
    if embedding is not None:
        shapes |= linear("bleurt.encoder.embedding_projection", embedding, hidden)
    for layer in range(SIZES["num_hidden_layers"]):
        start = f"bleurt.encoder.layer.{layer}"
        for name in ("query", "key", "value"):
            shapes |= linear(f"{start}.attention.self.{name}", hidden, hidden)
        shapes |= linear(f"{start}.attention.output.dense", hidden, hidden)
        shapes |= norm(f"{start}.attention.output.LayerNorm", hidden)
        shapes |= linear(f"{start}.intermediate.dense", hidden, inner)
        shapes |= linear(f"{start}.output.dense", inner, hidden)
        shapes |= norm(f"{start}.output.LayerNorm", hidden)
    state: dict[str, torch.Tensor] = {}
    for number, (name, shape) in enumerate(sorted(shapes.items())):
        count = torch.Size(shape).numel()
        phase = torch.arange(count, dtype=torch.float64) * 1.7 + number
        values = 0.4 * torch.sin(phase * phase)
        is_scale = name.endswith("LayerNorm.weight")
        state[name] = (values + (1.0 if is_scale else 0.0)).float().reshape(shape)
    return state


def linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}
