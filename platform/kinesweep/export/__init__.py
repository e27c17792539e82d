"""Export: a finished run becomes a bundle that anyone can load, check and translate with."""

from kinesweep.export.bundle import check_files, export_bundle
from kinesweep.export.translate import Bundle
from kinesweep.export.verify import verify_bundle

__all__ = ["Bundle", "check_files", "export_bundle", "verify_bundle"]
