"""A bundle: the model folder of a run with its card, its predictions and a manifest of hashes.

A finished run goes in; out comes a folder that Hugging Face loads, that says how it was made, and
that translates raw files years later. It is built beside its place, the manifest last, and renamed;
a bundle with another byte, a file less or one more that a loader would read is refused by name.
"""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinesweep.core.errors import BundleError, CheckpointError, KinesweepError
from kinesweep.core.hashing import file_sha256, folder_sha256
from kinesweep.core.recipe import Recipe
from kinesweep.core.recipe.skeletons import SkeletonFeaturesConfig
from kinesweep.core.recipe.video import VideoFeaturesConfig
from kinesweep.export.card import write_card
from kinesweep.export.flavor import write_flavor
from kinesweep.export.raw import columns_of, files_of_raw
from kinesweep.features import build_features
from kinesweep.store import Store
from kinesweep.training.files import read_json, write_folder, write_json
from kinesweep.training.model_files import FEATURES, read_recipe, write_recipe
from kinesweep.training.result import RunResult, read_result

if TYPE_CHECKING:
    from kinesweep.training.model_folder import ModelFolder

MANIFEST = "manifest.json"
PREDICTIONS = "predictions.tsv"
GENERATION = "generation_config.json"
PROMPTS = ("encoder_prompt", "decoder_prompt")
STEP = "feature_step"
VISION = "vision"
EMBEDDER = "embedder"
_FORMAT = 1
_READ_BY_LOADERS = frozenset({".json", ".safetensors", ".bin", ".model", ".txt", ".yaml", ".py"})


def export_bundle(
    run: Path,
    out: Path,
    store: Store,
    overwrite: bool = False,
    title: str = "",
    test: Mapping[str, float] | None = None,
    facts: Mapping[str, str] | None = None,
) -> Path:
    """Makes a bundle of a finished run.

    Args:
        run: the run folder.
        out: the bundle's folder.
        store: the features it was trained on.
        overwrite: replace a bundle that is there.
        title: what the card is headed with; default: the recipe's name.
        test: scores on test, where they are not part of the run's result.
        facts: what else the card says, such as the sweep's interval over seeds.

    Returns:
        `out`.

    Raises:
        CheckpointError: the run is not finished, or did not decode all of validation.
        BundleError: `out` is there, is no bundle that could be replaced, or the store is another.
    """
    result = _finished(run)
    _check_place(out, overwrite)
    from kinesweep.training.model_folder import read_model_folder  # PyTorch: seconds

    loaded = read_model_folder(run / "best")
    wanted = loaded.features["store_fingerprint"]
    if store.fingerprint != wanted:
        raise BundleError(
            f"`{run}` was trained on the features {wanted[:12]}…, but the store `{store.folder}`"
            f" has {store.fingerprint[:12]}…; give the store of the run"
        )

    def fill(beside: Path) -> None:
        for path in sorted((run / "best").iterdir()):
            shutil.copyfile(path, beside / path.name)
        shutil.copyfile(run / "predictions" / "validation.tsv", beside / PREDICTIONS)
        write_recipe(beside, loaded.recipe.portable())
        write_json(beside / FEATURES, {**loaded.features, **_reading(loaded, store)})
        write_json(beside / GENERATION, _generation(loaded))
        write_card(beside, result, store, title, test, facts)
        columns = columns_of(loaded.features["streams"]).values()
        write_flavor(beside, result.weights_sha256, files_of_raw(loaded.recipe), columns)
        _copy_encoder(loaded.recipe, beside)
        write_json(beside / MANIFEST, {"format": _FORMAT, "files": folder_sha256(beside)})

    out.parent.mkdir(parents=True, exist_ok=True)
    write_folder(out, fill)
    return out


def _check_place(out: Path, overwrite: bool) -> None:
    """Refuses to replace a bundle unasked, and anything else at all."""
    if out.exists() and not overwrite:
        raise BundleError(f"`{out}` exists; give another folder, or `--overwrite`")
    if out.exists() and not (out / MANIFEST).is_file():
        raise BundleError(f"`{out}` is not a bundle and is not replaced; give another folder")


def check_files(folder: Path) -> dict[str, str]:
    """Checks every file of a bundle against its manifest. Returns file → SHA-256.

    Hidden files and others that no loader reads (a README, a licence) may be added.

    Raises:
        BundleError: not a bundle, or a file is missing, changed or too many; all are named.
    """
    files = _manifest(folder)
    problems = [f"`{name}` is missing" for name in files if not (folder / name).is_file()]
    for name, digest in files.items():
        if (folder / name).is_file() and file_sha256(folder / name) != digest:
            problems.append(f"`{name}` was changed")
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    for name in sorted(found - files.keys() - {MANIFEST}):
        if Path(name).suffix in _READ_BY_LOADERS and not name.startswith("."):
            problems.append(f"`{name}` does not belong to it")
    if problems:
        raise BundleError(f"the bundle `{folder}` is damaged: {'; '.join(problems)}. Copy it again")
    return files


def read_bundle_recipe(folder: Path) -> Recipe:
    """Check every file of a bundle and return its recipe; the model is not loaded.

    Raises:
        BundleError: damaged, not a bundle, or written by a version with another recipe.
    """
    check_files(folder)
    try:
        return read_recipe(folder)
    except KinesweepError as error:
        raise BundleError(f"the bundle `{folder}` cannot be loaded: {error}") from None


def _finished(run: Path) -> RunResult:
    """The result of a run that can be exported."""
    result = read_result(run)
    if result is None or result.status != "finished":
        state = result.status if result else "not at its end"
        raise CheckpointError(f"the run `{run}` is {state}; only a finished run is exported")
    if not (run / "predictions" / "validation.tsv").is_file():
        raise CheckpointError(
            f"the run `{run}` has decoded only part of validation, as search does; train it on its"
            " own (`kinesweep train`) and export that"
        )
    return result


def _reading(loaded: "ModelFolder", store: Store) -> dict[str, str]:
    """The prompts that most training clips had, and the fingerprint of the features' code."""
    return {**common_prompts(store), STEP: build_features(loaded.recipe.features).fingerprint}


def common_prompts(store: Store) -> dict[str, str]:
    """Name of a prompt → what most training clips have."""
    clips = [record.clip for record in store.records("train")]
    return {n: Counter(getattr(c, n) for c in clips).most_common(1)[0][0] for n in PROMPTS}


def with_own_encoder(recipe: Recipe, folder: Path) -> Recipe:
    """A bundle's recipe with the video model or the embedder that lies in the bundle."""
    name = _encoder_folder(recipe)
    return recipe if name is None else recipe.with_encoder(folder / name)


def _encoder_folder(recipe: Recipe) -> str | None:
    """Where a bundle keeps what its features are computed by; None: they need nothing."""
    if isinstance(recipe.features, VideoFeaturesConfig):
        return VISION
    return None if _embedder(recipe) is None else EMBEDDER


def _embedder(recipe: Recipe) -> str | None:
    """The folder of the embedder that aligns references."""
    features = recipe.features
    if not isinstance(features, SkeletonFeaturesConfig) or features.reference is None:
        return None
    return features.reference.embedder


def _copy_encoder(recipe: Recipe, bundle: Path) -> None:
    """What features are computed by, without which no raw file could be translated."""
    name = _encoder_folder(recipe)
    if name is None:
        return
    (bundle / name).mkdir()
    for path in _encoder_paths(recipe):
        shutil.copyfile(path, bundle / name / path.name)


def _encoder_paths(recipe: Recipe) -> Sequence[Path]:
    """The files of the video model, or of the embedder."""
    if isinstance(recipe.features, VideoFeaturesConfig):
        from kinesweep.features.encoders import encoder_files

        return encoder_files(recipe.features.encoder)
    from kinesweep.features.embedder import DESCRIPTION, WEIGHTS

    folder = Path(_embedder(recipe) or "")
    return [folder / DESCRIPTION, folder / WEIGHTS]


def _generation(loaded: "ModelFolder") -> dict[str, Any]:
    """How texts were decoded, in Hugging Face's words."""
    words = loaded.text.vocabulary
    ids = {"bos_token_id": words.bos_id, "eos_token_id": words.eos_id, "pad_token_id": words.pad_id}
    return {**loaded.recipe.generation.model_dump(mode="json"), "do_sample": False, **ids}


def _manifest(folder: Path) -> dict[str, str]:
    """File → SHA-256, as written on export."""
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(f"`{folder}` is not a bundle: {MANIFEST} is missing")
    try:
        manifest = read_json(path)
        written, files = manifest["format"], dict(manifest["files"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BundleError(f"the bundle `{folder}` is damaged: `{MANIFEST}`: {error}") from None
    if written != _FORMAT:
        raise BundleError(
            f"`{folder}` is a bundle of format {written}, this program reads {_FORMAT}; use the"
            " version of Kinesweep that its card names"
        )
    return files
