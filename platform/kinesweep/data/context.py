"""Context: preceding sentences of the same document.

A signer says "she" for someone whom the previous sentence named. A window of two sentences, and the
first sentences of a document, which tell its topic, resolve such references. Only sentences before
the clip are used. The clips of a document are sorted by `Clip.order`; a clip without a document has
no context.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from kinesweep.config.recipe.prompt import ContextConfig
from kinesweep.core.errors import InputError
from kinesweep.store.format.index import ClipRecord


class DocumentContext:
    """The document context of clips: preceding sentences of the same document.

    Args:
        records: Clips of one split whose sentences may be used as context.
        config: Context settings, which give the numbers of preceding sentences.
    """

    def __init__(self, records: Sequence[ClipRecord], config: ContextConfig) -> None:
        self._config = config
        documents: dict[tuple[str, str], list[ClipRecord]] = defaultdict(list)
        for record in records:
            if record.clip.document:
                documents[record.clip.corpus, record.clip.document].append(record)
        for document_records in documents.values():
            # The id breaks ties, so the order does not depend on the store.
            document_records.sort(key=lambda record: (record.clip.order, record.clip.id))
        self._documents = documents
        self._positions = {
            record.clip.id: position
            for document_records in documents.values()
            for position, record in enumerate(document_records)
        }

    def get_position(self, record: ClipRecord) -> int:
        """Return the position of a clip in its document, counted from 0.

        A clip without a document has the position 0.
        """
        return self._positions.get(record.clip.id, 0)

    def get_context_ids(self, record: ClipRecord) -> tuple[str, ...]:
        """Return the ids of the clips whose sentences are the context, in document order."""
        position = self.get_position(record)
        preceding = self._documents.get((record.clip.corpus, record.clip.document), [])[:position]
        # The first sentences and the window can overlap; no clip occurs twice.
        start_end = min(self._config.document_start, position)
        window_start = max(start_end, position - self._config.window)
        selected = preceding[:start_end] + (preceding[window_start:] if self._config.window else [])
        return tuple(context_record.clip.id for context_record in selected)

    def get_sentences(
        self, record: ClipRecord, sentences_by_id: Mapping[str, str]
    ) -> tuple[str, ...]:
        """Return the context sentences of a clip in document order, without blank ones.

        Args:
            record: Clip that the context precedes.
            sentences_by_id: Clip id → sentence.

        Raises:
            InputError: If a clip of the context has no entry in `sentences_by_id`.
        """
        context_ids = self.get_context_ids(record)
        missing = next((clip_id for clip_id in context_ids if clip_id not in sentences_by_id), None)
        if missing is not None:
            raise InputError(
                f"clip `{record.clip.id}` has clip `{missing}` as context, but"
                " `context.predictions` has no sentence for it; provide predictions for all clips"
            )
        sentences = (sentences_by_id[clip_id] for clip_id in context_ids)
        return tuple(sentence for sentence in sentences if sentence.strip())


def get_first_references(records: Sequence[ClipRecord]) -> dict[str, str]:
    """Return clip id → first reference translation, or the empty string if the clip has none."""
    return {record.clip.id: record.clip.texts[0] if record.clip.texts else "" for record in records}
