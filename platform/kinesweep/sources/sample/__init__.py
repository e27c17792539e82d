"""The embedded sample corpus: an invented sign language, signed and written by code."""

from kinesweep.sources.sample.corpus import DEFAULT_CLIPS, write_sample
from kinesweep.sources.sample.summary import SampleSummary

__all__ = ["DEFAULT_CLIPS", "SampleSummary", "write_sample"]
