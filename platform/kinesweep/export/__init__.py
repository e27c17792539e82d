"""Export: a finished run becomes a bundle that anyone can load, check and translate with."""

from kinesweep.export.bundle import export_bundle, open_bundle
from kinesweep.export.translate import Bundle
from kinesweep.export.verify import verify_bundle

__all__ = ["Bundle", "export_bundle", "open_bundle", "verify_bundle"]
