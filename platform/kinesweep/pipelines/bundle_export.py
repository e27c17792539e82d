"""Bundle export for commands: write the bundle of a run, verify it in a fresh process, push it."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kinesweep.checkpoints.model_dir_files import RECIPE_FILENAME, check_model_folder
from kinesweep.config.loading import load_config
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.export import CardConfig
from kinesweep.core.errors import HubError, InputError
from kinesweep.core.html_table import format_html_key_values
from kinesweep.core.paths import get_state_dir
from kinesweep.export.bundle_manifest import is_bundle
from kinesweep.pipelines.extraction import find_training_store
from kinesweep.pipelines.inputs import resolve_model_dir

if TYPE_CHECKING:
    from kinesweep.export.hub.push import PushedBundle


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


@dataclass(frozen=True)
class PushRequest:
    """Where a bundle is pushed to; see `export.hub.push.push_bundle`.

    Attributes:
        repo: Name of the repository on the Hub, `OWNER/NAME`.
        private: Whether the repository is private.
        revision: Branch; None: the default branch.
        message: Message of the commit; None: one with the version of Kinesweep.
    """

    repo: str
    private: bool = False
    revision: str | None = None
    message: str | None = None

    @property
    def default_name(self) -> str:
        """Return the name of the bundle's folder if the command names none."""
        return self.repo.rpartition("/")[2]

    def format_command(self, bundle_dir: Path) -> str:
        """Return the command that pushes a bundle as requested, to paste into a shell.

        Args:
            bundle_dir: Folder of the bundle.
        """
        words = ["kinesweep", "export", str(bundle_dir), "--push", self.repo]
        # All options: without `--private`, the pasted command would create a public repository.
        words += ["--private"] * self.private
        words += [f"--revision={self.revision}"] if self.revision is not None else []
        words += [f"--message={self.message}"] if self.message is not None else []
        return shlex.join(words)


def export_and_push(
    model: Path,
    out: Path | None,
    overwrite: bool,
    card: Sequence[str] = (),
    push: PushRequest | None = None,
) -> "tuple[Path, int | None, PushedBundle | None]":
    """Export a run if it is none already, and push the bundle to the Hub if requested.

    Args:
        model: Folder of a run, of its model or of a bundle, or name of a sweep.
        out: Output folder. None: a folder in the state folder, named after the repository.
        overwrite: Whether an existing bundle is replaced.
        card: Statements of the model card, such as `license=cc-by-4.0`.
        push: Where to push the bundle; None: it is not pushed.

    Returns:
        Folder of the bundle, the number of verified texts (None if it existed), and the pushed
        bundle.

    Raises:
        HubError: If the bundle cannot be pushed. It is kept, and the message tells how to go on.
        InputError: If an argument is missing or has no effect.
        KinesweepError: If `export_verified_bundle` raises it.
    """
    if push is not None:
        from kinesweep.export.hub.push import check_push

        # Before minutes of export: the name and the token of the push.
        check_push(push.repo)
    bundle_dir, num_verified = find_exported_bundle(model), None
    if bundle_dir is None:
        if out is not None:
            bundle_dir = out
        elif push is not None:
            bundle_dir = get_state_dir() / "exports" / push.default_name
        else:
            raise InputError("`OUT` is missing; give the output folder of the bundle, or `--push`")
        num_verified = export_verified_bundle(model, bundle_dir, overwrite, card).num_verified
    elif out is not None or card or overwrite or push is None:
        raise InputError(
            f"`{bundle_dir}` is a bundle already, which can only be pushed (`--push OWNER/NAME`);"
            " give the run to export it to another folder, again or with other statements"
        )
    if push is None:
        return bundle_dir, num_verified, None
    from kinesweep.export.hub.push import push_bundle

    try:
        pushed = push_bundle(bundle_dir, push.repo, push.private, push.revision, push.message)
    except HubError as error:
        again = push.format_command(bundle_dir)
        raise HubError(f"{error}\nThe bundle is complete; `{again}` pushes it again.") from None
    return bundle_dir, num_verified, pushed


def find_exported_bundle(model: Path) -> Path | None:
    """Find the bundle that a path or the name of a sweep stands for; None for a run.

    Args:
        model: Folder of a run or a bundle, or name of a sweep.
    """
    if model.exists() or model.is_absolute() or len(model.parts) != 1:
        return model if is_bundle(model) else None
    exported = get_state_dir() / "exports" / model
    return exported if is_bundle(exported) else None


def _read_card(model_dir: Path, changes: Sequence[str]) -> CardConfig | None:
    """Read the statements of a run's recipe with changes; None without changes.

    Args:
        model_dir: Folder of a run or of its model.
        changes: Statements such as `license=cc-by-4.0`.

    Raises:
        ConfigError: If a change is invalid.
    """
    if not changes:
        return None
    folder = resolve_model_dir(model_dir)
    check_model_folder(folder)
    overrides = [f"export.card.{change}" for change in changes]
    return load_config(Recipe, folder / RECIPE_FILENAME, overrides).export.card


def export_verified_bundle(
    model_dir: Path, bundle_dir: Path, overwrite: bool, card: Sequence[str] = ()
) -> ExportedBundle:
    """Export a finished run as a bundle and verify that the bundle generates the same texts.

    The verification runs in a fresh process. Nothing is logged.

    Args:
        model_dir: Folder of a run or of its model.
        bundle_dir: Output folder.
        overwrite: Whether an existing bundle is replaced.
        card: Changes of the recipe's `export.card`, such as `license=cc-by-4.0`.

    Raises:
        BundleError: If `bundle_dir` exists and may not be replaced, or if the bundle generates
            other texts than the model.
        CheckpointError: If `model_dir` contains no finished model.
        ConfigError: If a statement of the card is invalid.
        StoreError: If the features that the model was trained on are missing.
    """
    statements = _read_card(model_dir, card)
    store = find_training_store(model_dir)
    # Imported once the model and its store are found: PyTorch takes seconds.
    from kinesweep.export import export_bundle, verify_bundle

    bundle = export_bundle(model_dir, bundle_dir, store, overwrite=overwrite, card=statements)
    # A fresh process loads the bundle as somebody else would, without anything that this one holds.
    return ExportedBundle(bundle, verify_bundle(bundle, store.folder, model_dir))
