"""Selection of a part of the clips of a split, spread evenly over the split.

The selection depends only on the order of the clips, so it is the same in every process and run.
"""

from collections import defaultdict
from collections.abc import Sequence

from kinesweep.store.format.index import ClipRecord


def select_evenly(records: Sequence[ClipRecord], num_clips: int) -> list[ClipRecord]:
    """Select `num_clips` of the clips, spread evenly over the sequence, in its order.

    Args:
        records: Clips, in the order over which the selection is spread.
        num_clips: Number of clips to select, at most the number of `records`.
    """
    return [records[i * len(records) // num_clips] for i in range(num_clips)]


def select_documents(records: Sequence[ClipRecord], num_clips: int) -> list[ClipRecord]:
    """Select whole documents, spread evenly, and return their clips, about `num_clips` of them.

    At least one document is selected, so the clips can be more or fewer than `num_clips`. A clip
    without a document counts as a document of its own.

    Args:
        records: At least one clip; documents are ordered by their first clip.
        num_clips: Number of clips from which the number of documents is computed.
    """
    documents: dict[tuple[str, str], list[ClipRecord]] = defaultdict(list)
    for record in records:
        clip = record.clip
        # The control character keeps clip ids apart from the names of documents.
        document_name = clip.document or f"\x1f{clip.id}"
        documents[clip.corpus, document_name].append(record)
    all_documents = list(documents.values())
    num_documents = max(1, round(len(all_documents) * num_clips / len(records)))
    selected = [
        all_documents[i * len(all_documents) // num_documents] for i in range(num_documents)
    ]
    return [record for document in selected for record in document]
