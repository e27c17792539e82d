"""The feature store: extracted streams of a corpus, computed once and memory-mapped by each trial.

`extract.extract_on_ray` builds a store on Ray Data and `build.extract_locally` builds it in this
process; both write the same bytes. `open_store` opens an existing store. This package does not
import Ray until the module `extract` is imported.
"""

from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store, open_store

__all__ = ["ClipRecord", "Store", "open_store"]
