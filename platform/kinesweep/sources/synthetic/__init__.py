"""A synthetic sample corpus in an invented sign language, generated entirely by code."""

from kinesweep.sources.synthetic.corpus import DEFAULT_NUM_CLIPS, write_sample_corpus
from kinesweep.sources.synthetic.summary import SampleSummary

__all__ = ["DEFAULT_NUM_CLIPS", "SampleSummary", "write_sample_corpus"]
