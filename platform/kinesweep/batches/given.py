"""Tokenizers that somebody gives: a folder that Hugging Face loads, or a SentencePiece model alone.

Tarrés' tokenizer, as fairseq has it, is `sentencepiece.model` with `dictionary.txt` beside it; that
numbers the pieces: `<s>`, `<pad>`, `</s>`, `<unk>`, then its lines. Without a dictionary the
model's own numbers count, and what it lacks of these comes last. What comes out is a Hugging Face
tokenizer of the same pieces, scores and normalisation. Only unigram models can be read so, which is
what SentencePiece trains unasked.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from kinesweep.batches.tokenizer import add_tokens, load_pretrained, tags_in
from kinesweep.core.errors import InputError

_HUGGING_FACE = ("tokenizer_config.json", "tokenizer.json")
_FAIRSEQ = ("<s>", "<pad>", "</s>", "<unk>")
_UNIGRAM = 1
"""`TrainerSpec.ModelType` of a unigram model."""


def load_given(name: str, new_tokens: Sequence[str], prompts: Sequence[str]) -> Any:
    """A given tokenizer, with `new_tokens` and the prompts' tags added.

    Args:
        name: a folder with a tokenizer of Hugging Face's or one `*.model` of SentencePiece's; or a
            hub id.
        new_tokens: tokens to add.
        prompts: whose tags are added.

    Raises:
        InputError: no tokenizer can be loaded from there.
    """
    folder = Path(name)
    saved = any((folder / file).is_file() for file in _HUGGING_FACE)
    if saved or not folder.is_dir() or not list(folder.glob("*.model")):
        return load_pretrained(name, new_tokens, prompts)
    tokenizer = _read_sentencepiece(folder)
    add_tokens(tokenizer, [*new_tokens, *tags_in(prompts)], prompts)
    return tokenizer


def _read_sentencepiece(folder: Path) -> Any:
    """The tokenizer of a folder's only SentencePiece model."""
    model = _parse(_only(folder, "*.model"))
    pieces = {piece.piece: float(piece.score) for piece in model.pieces}
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    if list(folder.glob("dict*.txt")):
        vocabulary = _numbered(pieces, _only(folder, "dict*.txt"))
    else:
        trained = model.trainer_spec
        own = {"eos_token": trained.eos_piece, "bos_token": trained.bos_piece}
        own |= {"unk_token": trained.unk_piece, "pad_token": trained.pad_piece}
        names |= {key: piece for key, piece in own.items() if piece in pieces}
        vocabulary = pieces
    unknown = list(vocabulary).index(names["unk_token"])
    tokenizer = Tokenizer(models.Unigram(list(vocabulary.items()), unk_id=unknown))
    _cut_like(tokenizer, model)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **names, clean_up_tokenization_spaces=False
    )


def _only(folder: Path, pattern: str) -> Path:
    """The one file that fits."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        names = ", ".join(f"`{path.name}`" for path in found)
        raise InputError(f"`{folder}` holds {names}; leave the one `{pattern}` that counts")
    return found[0]


def _parse(path: Path) -> Any:
    """A SentencePiece model's pieces, scores and settings."""
    model = sentencepiece_model_pb2.ModelProto()
    try:
        checked = SentencePieceProcessor(model_proto=path.read_bytes())
    except RuntimeError:
        raise InputError(f"`{path}` is no SentencePiece model") from None
    model.ParseFromString(checked.serialized_model_proto())
    if model.trainer_spec.model_type != _UNIGRAM or model.trainer_spec.byte_fallback:
        raise InputError(
            f"`{path}` is no plain unigram model; save a tokenizer of Hugging Face's of it instead"
        )
    return model


def _numbered(pieces: Mapping[str, float], path: Path) -> dict[str, float]:
    """Pieces in the order of fairseq's dictionary, a line `piece count` each."""
    lines = path.read_text(encoding="utf-8").splitlines()
    words = [line.rpartition(" ")[0] for line in lines if line.strip()]
    # What the model does not have is never preferred to what it has.
    least = min(pieces.values())
    vocabulary = {piece: pieces.get(piece, least) for piece in [*_FAIRSEQ, *words]}
    if len(vocabulary) != len(_FAIRSEQ) + len(words):
        raise InputError(f"`{path}` has a piece twice, or one of {', '.join(_FAIRSEQ)}")
    lost = [piece for piece in pieces if piece not in vocabulary]
    if lost:
        raise InputError(
            f"`{path}` lacks {len(lost)} pieces of the model beside it, among them `{lost[0]}`;"
            " are they of one training?"
        )
    return vocabulary


def _cut_like(tokenizer: Tokenizer, model: Any) -> None:
    """Normalises and cuts at spaces as the model was trained to."""
    steps: list[Any] = []
    if model.normalizer_spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap))
    if model.normalizer_spec.remove_extra_whitespaces:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    if steps:
        tokenizer.normalizer = normalizers.Sequence(steps)
    scheme = "always" if model.normalizer_spec.add_dummy_prefix else "never"
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
