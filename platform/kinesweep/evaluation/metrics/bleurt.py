"""BLEURT: a regression model that reads a reference and a hypothesis and predicts a quality.

Checkpoints of the package bleurt-pytorch, such as `lucadiliello/BLEURT-20`, are of a model type
that transformers does not know, and the package itself does not run with its version 5. Their
networks are those of RemBERT (BLEURT-20, with embeddings narrower than the layers) or BERT, with
other names of the weights, and are loaded as such. The scores equal those of the package.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from sentencepiece import SentencePieceProcessor
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    PreTrainedConfig,
    RemBertConfig,
    RemBertForSequenceClassification,
)
from transformers.utils import cached_file

from kinesweep.config.recipe.evaluation import ScoringProtocol
from kinesweep.core.errors import InputError
from kinesweep.core.io import read_json
from kinesweep.evaluation.metrics.base import ClipMeanMetric, TextPair
from kinesweep.evaluation.metrics.model_loading import (
    explain_loading_errors,
    load_metric_model,
    load_weights,
)

# Sentence pairs per batch.
_BATCH_SIZE = 64
_KEY = "neural_metrics.bleurt"
_PACKAGE_MODEL_TYPE = "bleurt"
_VOCABULARY_FILE = "spm.model"
_PairEncoder = Callable[[Sequence[str], Sequence[str]], dict[str, torch.Tensor]]
"""Function from references and hypotheses to the inputs of the model."""


class Bleurt(ClipMeanMetric):
    """BLEURT, reported as the mean times 100; an empty hypothesis scores 0.

    Args:
        model_name: Local folder or hub id of a BLEURT checkpoint.
        protocol: Normalization of hypotheses and references.
        device: Device for the model.
    """

    def __init__(
        self, model_name: str, protocol: ScoringProtocol, device: torch.device | str
    ) -> None:
        super().__init__("bleurt", protocol)
        self._model_name = model_name
        self._device = device

    def format_settings(self) -> str:
        """Format the name of the model."""
        return f"model:{Path(self._model_name).name}"

    def score_pairs(self, pairs: Sequence[TextPair]) -> list[float]:
        """Compute the score of each pair, about 0 to 100.

        Raises:
            InputError: If the model cannot be read or is not a regression model.
        """
        model, encode_pairs = _load_bleurt(self._model_name, str(self._device))
        scores: list[float] = []
        for start in range(0, len(pairs), _BATCH_SIZE):
            batch = pairs[start : start + _BATCH_SIZE]
            # BLEURT expects the reference first.
            inputs = encode_pairs([p.reference for p in batch], [p.hypothesis for p in batch])
            inputs = {name: value.to(self._device) for name, value in inputs.items()}
            with torch.no_grad():
                values = model(**inputs).logits.reshape(-1)
            scores += (100 * values).tolist()
        return scores


# Only one is kept: BLEURT-20 has 579 million weights, 2.3 GB in float32.
@lru_cache(maxsize=1)
def _load_bleurt(model_name: str, device: str) -> tuple[Any, _PairEncoder]:
    """Load a BLEURT model and the function that encodes its inputs.

    Raises:
        InputError: If the model cannot be read or predicts more than one number.
    """
    with explain_loading_errors(_KEY, model_name):
        settings, _ = PreTrainedConfig.get_config_dict(model_name)
    if settings.get("model_type") == _PACKAGE_MODEL_TYPE:
        model = _load_package_model(model_name, settings).to(device).eval()
        encode_pairs = _load_package_encoder(model_name, int(model.config.max_position_embeddings))
    else:
        model, tokenizer = load_metric_model(
            AutoModelForSequenceClassification, model_name, _KEY, device
        )
        encode_pairs = _wrap_tokenizer(tokenizer)
    if model.config.num_labels != 1:
        raise InputError(
            f"`evaluation.{_KEY}` is `{model_name}`, which gives {model.config.num_labels} numbers"
            " for each pair, but BLEURT gives one; use a BLEURT checkpoint"
        )
    return model, encode_pairs


def _load_package_model(model_name: str, settings: Mapping[str, Any]) -> Any:
    """Load a checkpoint of the package bleurt-pytorch as the model of transformers that it equals.

    Args:
        model_name: Local folder or hub id.
        settings: Contents of its `config.json`.
    """
    # The model type and the classes in these settings are those of the package.
    plain = {k: v for k, v in settings.items() if k not in ("model_type", "architectures")}
    # transformers would create two outputs by default.
    plain = {"num_labels": 1, **plain}
    embedding_size = plain.pop("embedding_size", None)
    model_class: Any = BertForSequenceClassification
    if embedding_size is None:
        config: Any = BertConfig.from_dict(plain)
        renamed_weights = {r"^bleurt\.": "bert."}
    else:
        # RemBERT's defaults for these ids may lie outside of a small vocabulary.
        plain |= {"bos_token_id": None, "eos_token_id": None}
        config = RemBertConfig.from_dict({**plain, "input_embedding_size": embedding_size})
        model_class = RemBertForSequenceClassification
        renamed_weights = {
            r"^bleurt\.encoder\.embedding_projection\.": (
                "rembert.encoder.embedding_hidden_mapping_in."
            ),
            r"^bleurt\.": "rembert.",
        }
    return load_weights(
        lambda: model_class.from_pretrained(
            model_name,
            config=config,
            dtype=torch.float32,
            key_mapping=renamed_weights,
            # Softmax in plain float32 operations, as in the package.
            attn_implementation="eager",
            output_loading_info=True,
        ),
        model_name,
        _KEY,
    )


def _load_package_encoder(model_name: str, max_length: int) -> _PairEncoder:
    """Load the tokenizer of a checkpoint of bleurt-pytorch: SentencePiece, or BERT's WordPiece.

    Args:
        model_name: Local folder or hub id.
        max_length: Number of positions of the model, to which longer pairs are truncated.

    Raises:
        InputError: If the checkpoint has no tokenizer or it cannot be read.
    """
    with explain_loading_errors(_KEY, model_name):
        vocabulary = _find_file(model_name, _VOCABULARY_FILE)
        if vocabulary is None:
            return _wrap_tokenizer(BertTokenizer.from_pretrained(model_name), max_length)
        settings_path = _find_file(model_name, "tokenizer_config.json")
        settings = read_json(settings_path) if settings_path is not None else {}
        return SentencePiecePairEncoder(vocabulary, settings, max_length)


def _find_file(model_name: str, name: str) -> Path | None:
    """Return the path of a file of a checkpoint; None if the checkpoint does not have it."""
    # No exceptions: a missing file only tells which tokenizer the checkpoint has.
    path = cached_file(
        model_name,
        name,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_gated_repo=False,
    )
    return None if path is None else Path(path)


def _wrap_tokenizer(tokenizer: Any, max_length: int | None = None) -> _PairEncoder:
    """Return a function that encodes pairs with a tokenizer of transformers."""

    def encode_pairs(references: Sequence[str], hypotheses: Sequence[str]) -> dict[str, Any]:
        """Encode pairs as the inputs of a model."""
        return dict(
            tokenizer(
                list(references),
                list(hypotheses),
                padding=True,
                truncation=True,
                max_length=max_length,
                return_tensors="pt",
            )
        )

    return encode_pairs


class SentencePiecePairEncoder:
    """The encoder of pairs of the package bleurt-pytorch: `[CLS] reference [SEP] hypothesis [SEP]`.

    Args:
        vocabulary: SentencePiece model.
        settings: Contents of `tokenizer_config.json`.
        max_length: Number of tokens to which a pair is truncated, the longer text first.

    Raises:
        InputError: If the vocabulary lacks a special token, or texts are to be split in a way that
            is not supported.
    """

    def __init__(self, vocabulary: Path, settings: Mapping[str, Any], max_length: int) -> None:
        self._processor = SentencePieceProcessor(model_file=str(vocabulary))
        if settings.get("split_by_punct"):
            raise InputError(
                f"`{vocabulary.parent}` sets `split_by_punct`, which BLEURT never does"
            )
        self._lowercases = bool(settings.get("do_lower_case"))
        self._max_length = max_length
        self._cls = self._find_special_token("cls_token", "[CLS]", settings)
        self._sep = self._find_special_token("sep_token", "[SEP]", settings)
        self._pad = self._find_special_token("pad_token", "[PAD]", settings)

    def __call__(self, references: Sequence[str], hypotheses: Sequence[str]) -> dict[str, Any]:
        """Encode pairs as `input_ids`, `token_type_ids` and `attention_mask`, each (B, L)."""
        pairs = [
            self._encode_pair(reference, hypothesis)
            for reference, hypothesis in zip(references, hypotheses, strict=True)
        ]
        length = max(len(first) + len(second) for first, second in pairs)
        shape = (len(pairs), length)
        ids_BL = torch.full(shape, self._pad, dtype=torch.long)
        types_BL = torch.zeros(shape, dtype=torch.long)
        mask_BL = torch.zeros(shape, dtype=torch.long)
        for row, (first, second) in enumerate(pairs):
            total = len(first) + len(second)
            ids_BL[row, :total] = torch.tensor([*first, *second])
            types_BL[row, len(first) : total] = 1
            mask_BL[row, :total] = 1
        return {"input_ids": ids_BL, "token_type_ids": types_BL, "attention_mask": mask_BL}

    def _encode_pair(self, reference: str, hypothesis: str) -> tuple[list[int], list[int]]:
        """Return the ids of both segments with their special tokens, truncated to the model."""
        first, second = (
            list(self._processor.encode(text.lower() if self._lowercases else text))
            for text in (reference, hypothesis)
        )
        # Three special tokens; of equal lengths, the second text loses a token first.
        while len(first) + len(second) + 3 > self._max_length:
            (first if len(first) > len(second) else second).pop()
        return [self._cls, *first, self._sep], [*second, self._sep]

    def _find_special_token(self, key: str, default: str, settings: Mapping[str, Any]) -> int:
        """Return the id of a special token, in the vocabulary or added by the settings.

        Raises:
            InputError: If the checkpoint does not have the token.
        """
        token = settings.get(key) or default
        token = token["content"] if isinstance(token, Mapping) else token
        # Added tokens come before those of the vocabulary, as in transformers.
        for token_id, added in (settings.get("added_tokens_decoder") or {}).items():
            if added["content"] == token:
                return int(token_id)
        token_id = int(self._processor.piece_to_id(token))
        # SentencePiece returns the id of the unknown token for a piece that it does not have.
        if self._processor.id_to_piece(token_id) != token:
            raise InputError(f"the vocabulary of the BLEURT checkpoint lacks the token `{token}`")
        return token_id
