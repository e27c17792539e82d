"""The loop over the inputs of a translation: batches of files, context, inputs that fail.

Up to 256 files at a time are read, batched by length and decoded. If the model uses context, the
clips of a document are translated one after another, and several documents in parallel; the context
of a clip consists of the texts generated for the earlier clips. A clip that cannot be read, or that
does not fit into the model or the memory, costs no other clip its text.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kinesweep.checkpoints.model_dir import LoadedModel
from kinesweep.core.clip import Clip
from kinesweep.core.errors import KinesweepError
from kinesweep.data.collate import ClipTokens
from kinesweep.data.context import DocumentContext
from kinesweep.data.prompt import PromptBuilder
from kinesweep.data.tasks.questions import Example
from kinesweep.export.inference.clip_names import name_inputs
from kinesweep.export.input_failure import find_input_error
from kinesweep.export.raw_inputs import Input
from kinesweep.store.format.index import ClipRecord

logger = logging.getLogger(__name__)

StreamFeatures = dict[str, NDArray[np.floating]]
"""Feature stream → features of one clip, (T, D)."""
# Number of files in memory at once; about 50 MB of features.
_MAX_FILES_IN_MEMORY = 256


class ClipTranslator(Protocol):
    """The parts of a loaded bundle that translate clips one by one."""

    @property
    def loaded(self) -> LoadedModel:
        """Model, tokenizer, recipe and description of the features."""

    def make_clip(self, item: Input, index: int) -> Clip:
        """Convert an input to a clip without text, with the bundle's default prompts."""

    def compute_feature_arrays(self, item: Input) -> StreamFeatures:
        """Compute the feature arrays of an input, (T, D) by feature stream."""

    def translate_features(
        self,
        features: Sequence[StreamFeatures],
        tokens: Sequence[ClipTokens],
        names: Sequence[str],
    ) -> list[str]:
        """Translate clips whose features and prompt tokens are known.

        `names` are those of the clips in the draws of sampling.
        """


def translate_inputs(
    bundle: ClipTranslator,
    inputs: Sequence[Input | Path | str],
    progress: Callable[[int, int], None] | None,
    stop_at_failure: bool,
) -> list[str | KinesweepError]:
    """Translate clips and return the text or the error of each.

    Args:
        bundle: Loaded bundle.
        inputs: Clips to translate.
        progress: Callback that receives the numbers of finished and of all clips.
        stop_at_failure: Whether to raise the error of the first clip that has one.
    """
    clip_inputs = [item if isinstance(item, Input) else Input(Path(item)) for item in inputs]
    records = [
        ClipRecord(bundle.make_clip(clip_input, index), {})
        for index, clip_input in enumerate(clip_inputs)
    ]
    recipe = bundle.loaded.recipe
    context = DocumentContext(records, recipe.context)
    prompter = PromptBuilder(bundle.loaded.tokenizer, recipe.prompt_settings)
    names = name_inputs(clip_inputs)
    results: dict[str, str | KinesweepError] = {}
    for clip_indices in _iter_translation_batches(context, records):
        # Later clips of a document read the earlier texts; a failed clip has none.
        texts_by_id = {key: text if isinstance(text, str) else "" for key, text in results.items()}

        def prepare(
            index: int, texts_by_id: Mapping[str, str] = texts_by_id
        ) -> tuple[StreamFeatures, ClipTokens]:
            record = records[index]
            sentences = context.get_sentences(record, texts_by_id)
            tokens = encode_prompt(prompter, record.clip, sentences)
            return bundle.compute_feature_arrays(clip_inputs[index]), tokens

        batch_results = _translate_batch(bundle, clip_indices, prepare, names, stop_at_failure)
        results |= {records[index].clip.id: text for index, text in batch_results.items()}
        if progress is not None:
            progress(len(results), len(clip_inputs))
    _log_missing_context(context, records, clip_inputs, results)
    return [results[record.clip.id] for record in records]


def _translate_batch(
    bundle: ClipTranslator,
    clip_indices: Sequence[int],
    prepare: Callable[[int], tuple[StreamFeatures, ClipTokens]],
    names: Sequence[str],
    stop_at_failure: bool,
) -> dict[int, str | KinesweepError]:
    """Translate some clips and return the text or the error of each, by index.

    Args:
        bundle: Loaded bundle.
        clip_indices: Indices of the clips.
        prepare: Function that computes the features and prompt tokens of a clip.
        names: Names of all clips in the draws of sampling.
        stop_at_failure: Whether to raise the error of the first clip that has one.
    """
    results: dict[int, str | KinesweepError] = {}
    prepared: dict[int, tuple[StreamFeatures, ClipTokens]] = {}
    for index in clip_indices:
        try:
            prepared[index] = prepare(index)
        except Exception as error:
            results[index] = _catch_input_error(error, stop_at_failure)
    try:
        features, tokens = zip(*prepared.values(), strict=True) if prepared else ((), ())
        texts = bundle.translate_features(features, tokens, [names[index] for index in prepared])
    except Exception as error:
        input_error = _catch_input_error(error, stop_at_failure)
        if len(prepared) == 1:
            return {**results, **dict.fromkeys(prepared, input_error)}
        # One of them is too large for the model or the memory: find out which, one by one.
        for index, single in prepared.items():
            results |= _translate_batch(
                bundle, [index], {index: single}.__getitem__, names, stop_at_failure
            )
        return results
    return results | dict(zip(prepared, texts, strict=True))


def _catch_input_error(error: Exception, stop_at_failure: bool) -> KinesweepError:
    """Return the error of a single input, or raise an exception that shall not be caught.

    Args:
        error: Exception that an input raised.
        stop_at_failure: Whether no exception shall be caught.
    """
    input_error = None if stop_at_failure else find_input_error(error)
    if input_error is None:
        raise error
    return input_error


def _log_missing_context(
    context: DocumentContext,
    records: Sequence[ClipRecord],
    inputs: Sequence[Input],
    results: Mapping[str, str | KinesweepError],
) -> None:
    """Log which clips were translated without the text of an earlier clip that failed.

    Args:
        context: Documents of the clips.
        records: Clips.
        inputs: Inputs of the clips, in the order of the records.
        results: Clip ID → text or error.
    """
    files_by_id = {r.clip.id: item.file for r, item in zip(records, inputs, strict=True)}
    num_affected: Counter[str] = Counter()
    for record in records:
        for context_id in context.get_context_ids(record):
            num_affected[context_id] += not isinstance(results[context_id], str)
    for clip_id, count in num_affected.items():
        if count:
            logger.warning(
                f"{count} later clips of the document were translated without the text of"
                f" `{files_by_id[clip_id]}`, which cannot be translated"
            )


def encode_prompt(
    prompter: PromptBuilder, clip: Clip, context_texts: Sequence[str] = ()
) -> ClipTokens:
    """Encode the prompts and the context of a clip, whose own text is unknown, as tokens.

    Args:
        prompter: Builder of prompts.
        clip: Clip to translate.
        context_texts: Earlier texts of the document, which are the context.

    Raises:
        InputError: If a prompt contains an unknown tag.
    """
    return prompter.build_tokens(clip, Example.from_clip(clip), context_texts)


def _iter_translation_batches(
    context: DocumentContext, records: Sequence[ClipRecord]
) -> Iterator[list[int]]:
    """Yield the indices of clips that are translated together, at most `_MAX_FILES_IN_MEMORY`.

    A clip comes after all earlier clips of its document, whose texts are its context.

    Args:
        context: Documents of the clips.
        records: Clips to translate.

    Yields:
        Indices into `records`; every clip occurs once.
    """
    # A group consists of the clips at the same position in their documents.
    indices_by_position: dict[int, list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        indices_by_position[context.get_position(record)].append(index)
    for _, clip_indices in sorted(indices_by_position.items()):
        for start in range(0, len(clip_indices), _MAX_FILES_IN_MEMORY):
            yield clip_indices[start : start + _MAX_FILES_IN_MEMORY]
