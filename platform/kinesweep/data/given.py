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
from kinesweep.data.tokenizer import add_tokens, find_tags, load_pretrained_tokenizer

# Files by which a tokenizer saved by Hugging Face is recognized.
_HUGGING_FACE = ("tokenizer_config.json", "tokenizer.json")
# fairseq's special tokens, in the order of their ids.
_FAIRSEQ = ("<s>", "<pad>", "</s>", "<unk>")
# Value of `TrainerSpec.ModelType` for a unigram model.
_UNIGRAM = 1


def load_external_tokenizer(name: str, new_tokens: Sequence[str], prompts: Sequence[str]) -> Any:
    """Load an external tokenizer and add `new_tokens` and the tags of the prompts.

    Args:
        name: Folder with a Hugging Face tokenizer or one SentencePiece `*.model`; or a hub id.
        new_tokens: Tokens to add.
        prompts: Prompts whose tags are added.

    Raises:
        InputError: If no tokenizer can be loaded.
    """
    folder = Path(name)
    is_hugging_face = any((folder / file).is_file() for file in _HUGGING_FACE)
    if is_hugging_face or not folder.is_dir() or not list(folder.glob("*.model")):
        return load_pretrained_tokenizer(name, new_tokens, prompts)
    tokenizer = _load_sentencepiece_tokenizer(folder)
    add_tokens(tokenizer, [*new_tokens, *find_tags(prompts)], prompts)
    return tokenizer


def _load_sentencepiece_tokenizer(folder: Path) -> Any:
    """Load a folder's single SentencePiece model as a Hugging Face tokenizer."""
    model = _read_sentencepiece_model(_find_single_file(folder, "*.model"))
    pieces = {piece.piece: float(piece.score) for piece in model.pieces}
    special_tokens = {
        "pad_token": "<pad>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
    }
    if list(folder.glob("dict*.txt")):
        vocabulary = _read_fairseq_vocabulary(pieces, _find_single_file(folder, "dict*.txt"))
    else:
        # The model may name its special tokens differently; names without a piece keep the default
        # and are added by `PreTrainedTokenizerFast`.
        trainer_spec = model.trainer_spec
        model_tokens = {"eos_token": trainer_spec.eos_piece, "bos_token": trainer_spec.bos_piece}
        model_tokens |= {"unk_token": trainer_spec.unk_piece, "pad_token": trainer_spec.pad_piece}
        special_tokens |= {key: piece for key, piece in model_tokens.items() if piece in pieces}
        vocabulary = pieces
    unk_id = list(vocabulary).index(special_tokens["unk_token"])
    tokenizer = Tokenizer(models.Unigram(list(vocabulary.items()), unk_id=unk_id))
    _configure_like_model(tokenizer, model)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **special_tokens, clean_up_tokenization_spaces=False
    )


def _find_single_file(folder: Path, pattern: str) -> Path:
    """Find the only file in a folder that matches a pattern."""
    matches = sorted(folder.glob(pattern))
    if len(matches) != 1:
        names = ", ".join(f"`{path.name}`" for path in matches)
        raise InputError(f"`{folder}` contains {names}; keep only the `{pattern}` to be used")
    return matches[0]


def _read_sentencepiece_model(path: Path) -> Any:
    """Read a SentencePiece model's pieces, scores and settings."""
    model = sentencepiece_model_pb2.ModelProto()
    # The processor validates the file; parsing alone would accept arbitrary bytes.
    try:
        processor = SentencePieceProcessor(model_proto=path.read_bytes())
    except RuntimeError:
        raise InputError(f"`{path}` is not a SentencePiece model") from None
    model.ParseFromString(processor.serialized_model_proto())
    if model.trainer_spec.model_type != _UNIGRAM or model.trainer_spec.byte_fallback:
        raise InputError(
            f"`{path}` is not a plain unigram model; convert it to a Hugging Face tokenizer"
        )
    return model


def _read_fairseq_vocabulary(pieces: Mapping[str, float], path: Path) -> dict[str, float]:
    """Read fairseq's dictionary (lines `piece count`); return piece → score in its order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    words = [line.rpartition(" ")[0] for line in lines if line.strip()]
    # A piece that the model does not have gets the lowest score, so it is never preferred.
    min_score = min(pieces.values())
    vocabulary = {piece: pieces.get(piece, min_score) for piece in [*_FAIRSEQ, *words]}
    if len(vocabulary) != len(_FAIRSEQ) + len(words):
        raise InputError(f"`{path}` lists a piece twice, or one of {', '.join(_FAIRSEQ)}")
    missing = [piece for piece in pieces if piece not in vocabulary]
    if missing:
        raise InputError(
            f"`{path}` lacks {len(missing)} pieces of the model beside it, for example"
            f" `{missing[0]}`;"
            " are both files from the same training?"
        )
    return vocabulary


def _configure_like_model(tokenizer: Tokenizer, model: Any) -> None:
    """Configure normalization and whitespace splitting as in a SentencePiece model."""
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
