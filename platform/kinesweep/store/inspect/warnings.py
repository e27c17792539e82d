"""Findings about the media of a finished store, from the statistics that it keeps."""

from kinesweep.core.clip import SPLITS, CorpusWarning
from kinesweep.features.quality.corpus_findings import find_quality_warnings
from kinesweep.features.quality.rate_warnings import find_rate_warnings
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
    return [*find_quality_warnings(items), *find_store_rate_warnings(store)]


def find_store_rate_warnings(store: Store) -> list[CorpusWarning]:
    """Find the streams of a store whose clips have several frame rates; one warning each."""
    records = [
        record for split in SPLITS if split in store.splits for record in store.get_records(split)
    ]
    warnings = []
    for stream, schema in store.schema.streams.items():
        if schema.rate_hz is None:
            rates_by_clip = {
                record.clip.id: record.rates_hz[stream]
                for record in records
                if stream in record.rates_hz
            }
            can_resample = schema.layout is not None
            warnings += find_rate_warnings(rates_by_clip, stream, can_resample=can_resample)
    return warnings
