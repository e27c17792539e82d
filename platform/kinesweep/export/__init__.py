"""Export: a finished run becomes a bundle that anyone can load, check and translate with."""

from kinesweep.export.bundle import check_files, export_bundle
from kinesweep.export.inputs import find_inputs
from kinesweep.export.translate import Bundle, Input
from kinesweep.export.verify import verify_bundle

__all__ = ["Bundle", "Input", "check_files", "export_bundle", "find_inputs", "verify_bundle"]
