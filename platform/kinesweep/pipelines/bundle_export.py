"""Bundle export for commands: write the bundle of a run and verify it in a fresh process."""

from dataclasses import dataclass
from pathlib import Path

from kinesweep.core.html_table import format_html_key_values
from kinesweep.pipelines.extraction import find_training_store


@dataclass(frozen=True)
class ExportedBundle:
    """A bundle that was written and verified.

    Attributes:
        folder: Folder of the bundle.
        num_verified: Number of texts that the bundle generated identically in a fresh process.
    """

    folder: Path
    num_verified: int

    def _repr_html_(self) -> str:
        """Return the folder and the result of the verification as HTML, which notebooks show."""
        verification_text = f"{self.num_verified} texts are identical after loading"
        return format_html_key_values(
            "Bundle", {"folder": self.folder, "verified": verification_text}
        )


def export_verified_bundle(model_dir: Path, bundle_dir: Path, overwrite: bool) -> ExportedBundle:
    """Export a finished run as a bundle and verify that the bundle generates the same texts.

    The verification runs in a fresh process. Nothing is logged.

    Args:
        model_dir: Folder of a run or of its model.
        bundle_dir: Output folder.
        overwrite: Whether an existing bundle is replaced.

    Raises:
        BundleError: If `bundle_dir` exists and may not be replaced, or if the bundle generates
            other texts than the model.
        CheckpointError: If `model_dir` contains no finished model.
        StoreError: If the features that the model was trained on are missing.
    """
    store = find_training_store(model_dir)
    # Imported once the model and its store are found: PyTorch takes seconds.
    from kinesweep.export import export_bundle, verify_bundle

    bundle = export_bundle(model_dir, bundle_dir, store, overwrite=overwrite)
    # A fresh process loads the bundle as somebody else would, without anything that this one holds.
    return ExportedBundle(bundle, verify_bundle(bundle, store.folder, model_dir))
