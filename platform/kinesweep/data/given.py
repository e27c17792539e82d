"""External tokenizers: a folder that Hugging Face can load, or a SentencePiece model alone.

The tokenizer of Tarrés et al., in fairseq's format, is `sentencepiece.model` with `dictionary.txt`
beside it. The dictionary numbers the pieces: `<s>`, `<pad>`, `</s>`, `<unk>`, then its lines.
Without a dictionary the model's own numbers are used, and special tokens that it lacks are
appended. The result is a Hugging Face tokenizer with the same pieces, scores and normalization.
Only unigram models, the default of SentencePiece, are supported.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from kinesweep.core.errors import InputError
from kinesweep.data.tokenizer import add_tokens, load_pretrained, tags_in

# Files by which a tokenizer saved by Hugging Face is recognized.
_HUGGING_FACE = ("tokenizer_config.json", "tokenizer.json")
# fairseq's special tokens, in the order of their ids.
_FAIRSEQ = ("<s>", "<pad>", "</s>", "<unk>")
# Value of `TrainerSpec.ModelType` for a unigram model.
_UNIGRAM = 1


def load_given(name: str, new_tokens: Sequence[str], prompts: Sequence[str]) -> Any:
    """Load an external tokenizer and add `new_tokens` and the tags of the prompts.

    Args:
        name: Folder with a Hugging Face tokenizer or one SentencePiece `*.model`; or a hub id.
        new_tokens: Tokens to add.
        prompts: Prompts whose tags are added.

    Raises:
        InputError: If no tokenizer can be loaded.
    """
    folder = Path(name)
    saved = any((folder / file).is_file() for file in _HUGGING_FACE)
    if saved or not folder.is_dir() or not list(folder.glob("*.model")):
        return load_pretrained(name, new_tokens, prompts)
    tokenizer = _read_sentencepiece(folder)
    add_tokens(tokenizer, [*new_tokens, *tags_in(prompts)], prompts)
    return tokenizer


def _read_sentencepiece(folder: Path) -> Any:
    """Return the tokenizer of a folder with a single SentencePiece model."""
    model = _parse(_only(folder, "*.model"))
    pieces = {piece.piece: float(piece.score) for piece in model.pieces}
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    if list(folder.glob("dict*.txt")):
        vocabulary = _numbered(pieces, _only(folder, "dict*.txt"))
    else:
        # The model may name its special tokens differently; names without a piece keep the default
        # and are added by `PreTrainedTokenizerFast`.
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
    """Return the only file that matches a pattern."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        names = ", ".join(f"`{path.name}`" for path in found)
        raise InputError(f"`{folder}` contains {names}; keep only the `{pattern}` to be used")
    return found[0]


def _parse(path: Path) -> Any:
    """Read a SentencePiece model's pieces, scores and settings."""
    model = sentencepiece_model_pb2.ModelProto()
    # The processor validates the file; parsing alone would accept arbitrary bytes.
    try:
        checked = SentencePieceProcessor(model_proto=path.read_bytes())
    except RuntimeError:
        raise InputError(f"`{path}` is not a SentencePiece model") from None
    model.ParseFromString(checked.serialized_model_proto())
    if model.trainer_spec.model_type != _UNIGRAM or model.trainer_spec.byte_fallback:
        raise InputError(
            f"`{path}` is not a plain unigram model; convert it to a Hugging Face tokenizer"
        )
    return model


def _numbered(pieces: Mapping[str, float], path: Path) -> dict[str, float]:
    """Return the pieces in the order of fairseq's dictionary, which has lines `piece count`."""
    lines = path.read_text(encoding="utf-8").splitlines()
    words = [line.rpartition(" ")[0] for line in lines if line.strip()]
    # A piece that the model does not have gets the lowest score, so it is never preferred.
    least = min(pieces.values())
    vocabulary = {piece: pieces.get(piece, least) for piece in [*_FAIRSEQ, *words]}
    if len(vocabulary) != len(_FAIRSEQ) + len(words):
        raise InputError(f"`{path}` lists a piece twice, or one of {', '.join(_FAIRSEQ)}")
    lost = [piece for piece in pieces if piece not in vocabulary]
    if lost:
        raise InputError(
            f"`{path}` lacks {len(lost)} pieces of the model beside it, for example `{lost[0]}`;"
            " are both files from the same training?"
        )
    return vocabulary


def _cut_like(tokenizer: Tokenizer, model: Any) -> None:
    """Configure normalization and whitespace splitting as the model was trained with."""
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
