"""Context: sentences of the same document that precede a clip.

A signer says "she" where the sentence before named her; a window of two sentences, and the first
ones of a document, which tell what it is about, resolve that. Only what precedes a clip counts. The
sentences of a document stand in the order of `Clip.order`; a clip without a document has none.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from kinesweep.core.errors import InputError
from kinesweep.core.recipe.prompt import ContextConfig
from kinesweep.store.index import ClipRecord


class Context:
    """The sentences before each clip.

    Args:
        records: clips whose sentences may be context, of one split.
        config: how many.
    """

    def __init__(self, records: Sequence[ClipRecord], config: ContextConfig) -> None:
        self._config = config
        documents: dict[tuple[str, str], list[ClipRecord]] = defaultdict(list)
        for record in records:
            if record.clip.document:
                documents[record.clip.corpus, record.clip.document].append(record)
        for clips in documents.values():
            clips.sort(key=lambda record: (record.clip.order, record.clip.id))
        self._documents = documents
        self._place = {
            record.clip.id: place
            for clips in documents.values()
            for place, record in enumerate(clips)
        }

    def place(self, record: ClipRecord) -> int:
        """How many clips of the document precede this one; 0 without a document."""
        return self._place.get(record.clip.id, 0)

    def before(self, record: ClipRecord) -> tuple[str, ...]:
        """Ids of the clips whose sentences are this one's context, in order."""
        place = self.place(record)
        clips = self._documents.get((record.clip.corpus, record.clip.document), [])[:place]
        first = min(self._config.prelude, place)
        last = max(first, place - self._config.window)
        chosen = clips[:first] + (clips[last:] if self._config.window else [])
        return tuple(item.clip.id for item in chosen)

    def lines(self, record: ClipRecord, texts: Mapping[str, str]) -> tuple[str, ...]:
        """The sentences themselves; empty ones are left out.

        Args:
            record: whose context.
            texts: clip id → sentence.

        Raises:
            InputError: a sentence is not there.
        """
        wanted = self.before(record)
        missing = next((clip_id for clip_id in wanted if clip_id not in texts), None)
        if missing is not None:
            raise InputError(
                f"clip `{record.clip.id}` has `{missing}` before it in its document, of which"
                " `context.predictions` holds no sentence; give the predictions of all clips"
            )
        return tuple(texts[clip_id] for clip_id in wanted if texts[clip_id].strip())


def gold(records: Sequence[ClipRecord]) -> dict[str, str]:
    """Clip id → its first reference."""
    return {r.clip.id: r.clip.texts[0] if r.clip.texts else "" for r in records}
