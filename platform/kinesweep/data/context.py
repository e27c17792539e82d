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
        config: Number of sentences.
    """

    def __init__(self, records: Sequence[ClipRecord], config: ContextConfig) -> None:
        self._config = config
        documents: dict[tuple[str, str], list[ClipRecord]] = defaultdict(list)
        for record in records:
            if record.clip.document:
                documents[record.clip.corpus, record.clip.document].append(record)
        for clips in documents.values():
            # The id breaks ties, so the order does not depend on the store.
            clips.sort(key=lambda record: (record.clip.order, record.clip.id))
        self._documents = documents
        self._positions = {
            record.clip.id: position
            for clips in documents.values()
            for position, record in enumerate(clips)
        }

    def get_position(self, record: ClipRecord) -> int:
        """Return the position of a clip in its document, from 0; 0 without a document."""
        return self._positions.get(record.clip.id, 0)

    def get_context_ids(self, record: ClipRecord) -> tuple[str, ...]:
        """Return the ids of the clips whose sentences are the context of this clip, in order."""
        position = self.get_position(record)
        clips = self._documents.get((record.clip.corpus, record.clip.document), [])[:position]
        # The first sentences and the window can overlap; no clip occurs twice.
        first = min(self._config.document_start, position)
        last = max(first, position - self._config.window)
        selected = clips[:first] + (clips[last:] if self._config.window else [])
        return tuple(item.clip.id for item in selected)

    def get_sentences(self, record: ClipRecord, texts: Mapping[str, str]) -> tuple[str, ...]:
        """Return the context sentences of a clip, without empty ones.

        Args:
            record: Clip that needs context.
            texts: Clip id → sentence.

        Raises:
            InputError: If a sentence is missing.
        """
        context_ids = self.get_context_ids(record)
        missing = next((clip_id for clip_id in context_ids if clip_id not in texts), None)
        if missing is not None:
            raise InputError(
                f"clip `{record.clip.id}` has clip `{missing}` as context, but"
                " `context.predictions` has no sentence for it; provide predictions for all clips"
            )
        return tuple(texts[clip_id] for clip_id in context_ids if texts[clip_id].strip())


def get_first_references(records: Sequence[ClipRecord]) -> dict[str, str]:
    """Return clip id → first reference text; empty for a clip without references."""
    return {r.clip.id: r.clip.texts[0] if r.clip.texts else "" for r in records}
