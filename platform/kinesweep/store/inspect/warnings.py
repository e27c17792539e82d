"""Findings about the media of a finished store, from the statistics that it keeps."""

from kinesweep.core.clip import CorpusWarning
from kinesweep.features.quality.corpus_findings import find_quality_warnings, find_rate_differences
from kinesweep.store.format.reader import Store


def find_store_warnings(store: Store) -> list[CorpusWarning]:
    """Find what may be wrong in the corpus of a store, as a check of the corpus does.

    A store of an earlier version has no statistics; only the rates of its streams are compared.
    """
    items = [
        (record.clip, statistics)
        for split in store.splits
        for record, statistics in zip(
            store.get_records(split), store.get_media_statistics(split), strict=True
        )
        if statistics is not None
    ]
    records = [record for split in store.splits for record in store.get_records(split)]
    return [
        *find_quality_warnings(items),
        *(
            warning
            for stream in store.schema.streams
            for warning in find_rate_differences(
                [(record.clip, record.rates_hz[stream]) for record in records]
            )
        ),
    ]
