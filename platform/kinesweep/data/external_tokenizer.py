"""External tokenizers: a folder that Hugging Face can load, or a SentencePiece model alone.

The tokenizer of Tarrés et al., in fairseq's format, is `sentencepiece.model` with `dictionary.txt`
beside it. The dictionary determines the token ids: `<s>`, `<pad>`, `</s>`, `<unk>`, then its lines.
Without a dictionary the model's own ids are used, and special tokens that it lacks are appended.
The result is a Hugging Face tokenizer with the same pieces, scores and normalization. Only unigram
models, the default of SentencePiece, are supported.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from kinesweep.core.errors import InputError
from kinesweep.features.texts.hf_tokenizer import (
    add_tokens,
    find_tags,
    load_pretrained_tokenizer,
)

# Files by which a tokenizer saved by Hugging Face is recognized.
_HUGGING_FACE_FILES = ("tokenizer_config.json", "tokenizer.json")
# fairseq's special tokens, in the order of their ids.
_FAIRSEQ_SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")
# Value of `TrainerSpec.ModelType` for a unigram model.
_UNIGRAM = 1


def load_external_tokenizer(name: str, new_tokens: Sequence[str], prompts: Sequence[str]) -> Any:
    """Load an external tokenizer and add `new_tokens` and the tags of the prompts.

    Args:
        name: Folder with a Hugging Face tokenizer or one SentencePiece `*.model`; or a hub id.
        new_tokens: Tokens to add.
        prompts: Prompts whose tags are added.

    Returns:
        A Hugging Face tokenizer. Tokens that it already had keep their ids.

    Raises:
        InputError: If no tokenizer can be loaded; if the folder has several SentencePiece models or
            dictionaries; or if the model is not a plain unigram one or does not match the
            dictionary.
    """
    folder = Path(name)
    is_hugging_face = any((folder / file).is_file() for file in _HUGGING_FACE_FILES)
    if is_hugging_face or not folder.is_dir() or not list(folder.glob("*.model")):
        return load_pretrained_tokenizer(name, new_tokens, prompts)
    tokenizer = _load_sentencepiece_tokenizer(folder)
    add_tokens(tokenizer, [*new_tokens, *find_tags(prompts)], prompts)
    return tokenizer


def _load_sentencepiece_tokenizer(folder: Path) -> Any:
    """Load the SentencePiece model of a folder as a Hugging Face tokenizer.

    A fairseq dictionary (`dict*.txt`) beside the model determines the token ids. Without one, the
    model determines them.

    Raises:
        InputError: If there are several models or dictionaries, the file is not a SentencePiece
            model or not a plain unigram one, or the dictionary does not match the model.
    """
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
    """Find the only file in a folder that matches a pattern.

    Raises:
        InputError: If several files match, or none.
    """
    matches = sorted(folder.glob(pattern))
    if len(matches) != 1:
        names = ", ".join(f"`{path.name}`" for path in matches)
        raise InputError(f"`{folder}` contains {names}; keep only the `{pattern}` to be used")
    return matches[0]


def _read_sentencepiece_model(path: Path) -> Any:
    """Read a SentencePiece model and return its protocol buffer message (`ModelProto`).

    Raises:
        InputError: If the file is not a SentencePiece model, or not a unigram model, or its
            unknown characters fall back to bytes.
    """
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
    """Read a vocabulary, piece → score in the order of the token ids, from a fairseq dictionary.

    Args:
        pieces: Piece → score in the SentencePiece model.
        path: Dictionary, whose lines are `piece count`. fairseq's special tokens come before them.

    Raises:
        InputError: If the dictionary lists a piece twice, or lacks a piece of the model.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    listed_pieces = [line.rpartition(" ")[0] for line in lines if line.strip()]
    # A piece that the model does not have gets the lowest score, so it is never preferred.
    min_score = min(pieces.values())
    vocabulary = {
        piece: pieces.get(piece, min_score) for piece in [*_FAIRSEQ_SPECIAL_TOKENS, *listed_pieces]
    }
    if len(vocabulary) != len(_FAIRSEQ_SPECIAL_TOKENS) + len(listed_pieces):
        raise InputError(
            f"`{path}` lists a piece twice, or one of {', '.join(_FAIRSEQ_SPECIAL_TOKENS)}"
        )
    missing = [piece for piece in pieces if piece not in vocabulary]
    if missing:
        raise InputError(
            f"`{path}` lacks {len(missing)} pieces of the model beside it, for example"
            f" `{missing[0]}`;"
            " are both files from the same training?"
        )
    return vocabulary


def _configure_like_model(tokenizer: Tokenizer, model: Any) -> None:
    """Configure the normalizer, whitespace splitting and decoder as in a SentencePiece model."""
    normalizer_steps: list[Any] = []
    if model.normalizer_spec.precompiled_charsmap:
        normalizer_steps.append(normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap))
    if model.normalizer_spec.remove_extra_whitespaces:
        normalizer_steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    if normalizer_steps:
        tokenizer.normalizer = normalizers.Sequence(normalizer_steps)
    scheme = "always" if model.normalizer_spec.add_dummy_prefix else "never"
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
