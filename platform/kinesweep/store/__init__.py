"""The feature store: the extracted streams of a corpus, computed once and mapped by every trial.

`extract.extract` fills it on Ray Data, `build.extract_locally` in this process; both give the same
bytes. `open_store` reads it. This package imports no Ray until `extract` is imported.
"""

from kinesweep.store.index import ClipRecord
from kinesweep.store.reader import Store, open_store

__all__ = ["ClipRecord", "Store", "open_store"]
