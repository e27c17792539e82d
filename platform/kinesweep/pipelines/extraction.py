"""Feature extraction for commands: extract on Ray, open stores, find the store of a model."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinesweep.checkpoints.model_dir_files import read_feature_description
from kinesweep.config.loading import load_config
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.features.feature_epochs import list_part_recipes
from kinesweep.core.clip import CorpusWarning
from kinesweep.core.errors import InputError, StoreError
from kinesweep.core.paths import get_state_dir
from kinesweep.pipelines.cluster import ray_cluster
from kinesweep.pipelines.inputs import load_recipe, resolve_model_dir
from kinesweep.pipelines.progress import show_progress_bar
from kinesweep.store import Store, open_store

if TYPE_CHECKING:
    from kinesweep.sources import Source

logger = logging.getLogger(__name__)


def extract_features(recipe: Recipe, on_ray: bool = True) -> Store:
    """Extract the features of a recipe's corpus, or open the store if they exist.

    With `source.videos`, missing poses are estimated first. This process is connected to Ray if it
    is used. Several parts of features are extracted one after the other and combined. Logs the plan
    of the extraction; afterwards the numbers of dropped clips by reason, warnings about the media,
    clips that are their own reference motion, and the overlap of train with other splits.

    Args:
        recipe: Recipe of the corpus and its features.
        on_ray: Whether Ray Data distributes the work; otherwise this process extracts all clips.
            Poses of videos are always estimated on Ray.

    Raises:
        InputError: If the pose estimator does not exist, or if `source.videos` has no video of a
            clip.
        ResourceError: If the cluster lacks the resources that the recipe needs.
        SourceError: If the corpus as a whole is invalid.
        StoreError: If too many clips are dropped, if there is too little disk space, or if the
            existing store is damaged.
    """
    if not recipe.part_recipes:
        store = _extract_single_features(recipe, on_ray)
    else:
        store = _extract_parts(recipe, on_ray)
    _log_train_leakage(recipe)
    return store


def _extract_parts(recipe: Recipe, on_ray: bool) -> Store:
    """Extract the parts of a recipe's features, log each, and combine their stores.

    Args:
        recipe: Recipe with several parts of features.
        on_ray: Whether Ray Data distributes the work.
    """
    from kinesweep.store.combined.clip_join import ClipJoin
    from kinesweep.store.combined.combine import combine_part_stores
    from kinesweep.store.extraction.drop_policy import count_drop_reasons

    # The recipe of a part does not name its stream; parts are extracted in their order.
    names = iter([part.name for part, _ in recipe.part_recipes])

    def extract_part(part_recipe: Recipe) -> Store:
        """Extract the next part."""
        logger.info(f"stream `{next(names)}`:")
        return _extract_single_features(part_recipe, on_ray)

    def log_join(join: ClipJoin) -> None:
        """Log what combining the parts lost."""
        counts = ", ".join(f"{split} {len(clips)}" for split, clips in join.clips.items())
        logger.info(f"clips that have all streams: {counts}")
        for reason, count in count_drop_reasons(join.dropped_rows).items():
            logger.info(f"dropped {count}: {reason}")
        for stream, count in join.ignored_counts.items():
            logger.info(f"{count} clips of the source of `{stream}` are not in the corpus")

    return combine_part_stores(recipe, extract_part, log_join)


def _log_train_leakage(recipe: Recipe) -> None:
    """Log the overlap of train with other splits of a recipe's corpus."""
    from kinesweep.sources import build_source
    from kinesweep.sources.splitting.split_overlap import compute_overlaps

    for line in compute_overlaps(build_source(recipe.effective_source)).format_train_leakage():
        logger.info(line)


def _extract_single_features(recipe: Recipe, on_ray: bool) -> Store:
    """Extract the features of a recipe that has one kind, as `extract_features` describes."""
    from kinesweep.features.quality.corpus_findings import format_warning_lines
    from kinesweep.sources import build_source
    from kinesweep.store.inspect.show import describe_self_comparisons
    from kinesweep.store.inspect.warnings import find_store_warnings

    # Without Ray, extracted features are used as they are: poses are estimated on Ray.
    if recipe.pose_estimation_source is not None and (on_ray or not _has_features(recipe)):
        from kinesweep.pipelines.pose_estimation import estimate_corpus_poses

        estimate_corpus_poses(recipe)
    if on_ray:
        from kinesweep.store.extraction.extract import extract_on_ray as extract
        from kinesweep.store.extraction.resource_allocation import check_video_device

        # A start of Ray takes seconds; a missing GPU is reported before.
        ray_cluster.connect_to_ray(partial(check_video_device, recipe.single_features))
    else:
        from kinesweep.store.extraction.build import extract_locally as extract
    with show_progress_bar("extract") as update:
        store = extract(recipe, progress=update, on_plan=lambda plan: logger.info(plan.text))
    if store.extraction is not None and not store.extraction.computed:
        logger.info(
            f"nothing to compute: {store.folder} already has all {store.extraction.reused} clips"
        )
    for reason, count in summarize_store(store)["dropped"].items():
        logger.info(f"dropped {count}: {reason}")
    warnings = find_store_warnings(store)
    # A store whose videos were read earlier has been warned about then.
    if (
        recipe.features.kind in ("video", "frames")
        and store.extraction
        and store.extraction.computed
    ):
        warnings += _find_video_warnings(build_source(recipe.effective_source), store, recipe)
    for line in format_warning_lines(warnings):
        logger.warning(line)
    if self_reference_note := describe_self_comparisons(store):
        logger.info(self_reference_note)
    return store


def _find_video_warnings(source: "Source", store: Store, recipe: Recipe) -> list[CorpusWarning]:
    """Find doubts about the videos whose features a store holds.

    They concern frame rates, and clips that are kept although no signer was found in them.
    """
    # Loads PyAV, which other corpora do not need.
    from kinesweep.features.signer_crop.warnings import find_checked_warnings

    records = [record for split in store.splits for record in store.get_records(split)]
    return find_checked_warnings(source, [record.clip for record in records], recipe.features)


def _has_features(recipe: Recipe) -> bool:
    """Return whether the features of a recipe's corpus are extracted."""
    from kinesweep.store.extraction.plan import summarize_extraction_plan

    return summarize_extraction_plan(recipe).exists


def open_existing_store(recipe: Recipe) -> Store:
    """Open the store of a recipe whose features are already extracted.

    Raises:
        SourceError: If the corpus as a whole is invalid.
        StoreError: If they are not extracted, if the corpus has changed since, or if the store is
            damaged.
    """
    from kinesweep.store.extraction.corpus_scan import find_video_origin
    from kinesweep.store.extraction.plan import summarize_extraction_plan
    from kinesweep.store.format.video_frames import record_video_origin

    summary = summarize_extraction_plan(recipe)
    if not summary.exists:
        raise StoreError(
            f"the features of `{recipe.name}` are not extracted; run `kinesweep extract` first"
        )
    # The corpus may have been moved since its extraction.
    videos = find_video_origin(recipe.effective_source, recipe.features)
    if videos is not None:
        record_video_origin(summary.folder, videos)
    if list_part_recipes(recipe):
        # Every part exists, so this only joins their clips.
        from kinesweep.store.extraction.build import extract_locally

        return extract_locally(recipe)
    return open_store(summary.folder)


def open_store_from_path(
    path: Path, overrides: Sequence[str] | None = None
) -> tuple[Store, Recipe | None]:
    """Open the feature store in a folder, or the store of a recipe's extracted features.

    Args:
        path: Feature store, or a recipe (by its suffix).
        overrides: Overrides of the recipe.

    Returns:
        The store, and the recipe if `path` is one.

    Raises:
        ConfigError: If the recipe is invalid.
        InputError: If `path` is neither, or if overrides are given for a store.
        SourceError: If the corpus of the recipe as a whole is invalid.
        StoreError: If there is no store, if it is damaged, or if the recipe's features are not
            extracted.
    """
    if path.suffix in {".yaml", ".yml"}:
        recipe = load_recipe(path, overrides)
        return open_existing_store(recipe), recipe
    if not path.is_dir():
        raise InputError(f"`{path}` is neither a feature store nor a recipe")
    if overrides:
        raise InputError(f"`{path}` is a feature store; overrides need a recipe")
    return open_store(path), None


def summarize_store(store: Store) -> dict[str, Any]:
    """Summarize a store as values that JSON can represent.

    Returns:
        Key → value: folder, fingerprint, clips by split, widths of streams, dropped clips by
        reason, clips by split that are their own reference motion, and the numbers of clips
        computed and reused if this process extracted the store, otherwise None.
    """
    extraction = store.extraction
    return {
        "store": str(store.folder),
        "fingerprint": store.fingerprint,
        "clips": {split: len(store.get_records(split)) for split in store.splits},
        "widths": store.schema.widths,
        "dropped": store.manifest["dropped"]["reasons"],
        "own_references": store.self_comparison_counts,
        "computed": extraction.computed if extraction else None,
        "reused": extraction.reused if extraction else None,
    }


def find_training_store(model_dir: Path, overrides: Sequence[str] = ()) -> Store:
    """Find and open the store that a model was trained on, by its fingerprint.

    For a model imported from another system, it is the store of the features of its recipe.

    Args:
        model_dir: Folder of a run, a model or a bundle. The recipe of a bundle contains no paths.
        overrides: Overrides of its recipe, such as `store.root`.

    Raises:
        ConfigError: If an override is invalid.
        CheckpointError: If there is no model in the folder.
        StoreError: If no store below `store.root` (default: the state folder) has the fingerprint.
    """
    fingerprint = read_feature_description(resolve_model_dir(model_dir))["store_fingerprint"]
    recipe = load_config(Recipe, resolve_model_dir(model_dir) / "recipe.yaml", overrides)
    if not fingerprint:  # a model imported from another system, which had no store
        return open_existing_store(recipe)
    root = Path(recipe.store.root or get_state_dir() / "stores")
    for manifest in sorted(root.glob("*/manifest.json")):
        try:
            store = open_store(manifest.parent)
        except StoreError:
            continue  # damaged, or written by another version; look at the other stores
        if store.fingerprint == fingerprint:
            # Without such an override the record is right: a bundle's recipe contains no paths.
            if any(override.startswith("source.") for override in overrides):
                _record_moved_videos(recipe, store)
            return store
    raise StoreError(
        f"the features that `{model_dir}` was trained on are not in `{root}`; pass"
        " `store.root=FOLDER`"
        " or run `kinesweep extract` with its recipe again"
    )


def _record_moved_videos(recipe: Recipe, store: Store) -> None:
    """Record where the source of a recipe has the videos that a store's frames are decoded from.

    Args:
        recipe: Recipe of the store, with the source that the user named.
        store: Store of the recipe; a combined store has one record for each of its parts.
    """
    from kinesweep.store.extraction.corpus_scan import find_video_origin
    from kinesweep.store.format.store_parts import PARTS
    from kinesweep.store.format.video_frames import record_video_origin

    references = store.manifest.get(PARTS, [])
    folders = {item["stream"]: store.folder / item["folder"] for item in references}
    if not folders:
        # A store without parts is that of the recipe, or of the only part that it selects.
        folders = dict.fromkeys(recipe.selected_streams or [""], store.folder)
    by_stream = {part.name: changed for part, changed in recipe.part_recipes} or {"": recipe}
    for stream, changed in by_stream.items():
        videos = find_video_origin(changed.effective_source, changed.features)
        if videos is not None and stream in folders:
            record_video_origin(folders[stream].resolve(), videos)
