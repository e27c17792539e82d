"""Paths in recipes: absolute ones for other processes, file names for other machines.

The functions modify a recipe's plain values in place. A model name that is not a local folder is
taken for a hub id and stays unchanged.
"""

from pathlib import Path
from typing import Any

from kinesweep.config.recipe.model.vision import normalize_hashed_vision
from kinesweep.config.recipe.source import ESTIMATOR_PLACEHOLDER, SourceConfig
from kinesweep.config.recipe.sources.estimators import ESTIMATOR_PATH_KEYS, set_files_digest
from kinesweep.core.checkpoint_files import compute_pretrained_digest, compute_weights_digest
from kinesweep.core.clip import SPLITS

RecipeDict = dict[str, Any]
# Keys of a source whose values are folders, for all kinds of sources.
_FOLDER_KEYS = ("root", "videos", "features", "poses", "motions")
DETECTOR_FOLDER = "detector"
"""Folder of the detector that finds the signer, below the folder of the model in a bundle."""
_PATH_KEYS = ("train", "validation", "test", *_FOLDER_KEYS)


def make_paths_absolute(recipe: RecipeDict, base: Path) -> None:
    """Make all local paths absolute and set the hashes of initial weights and vision model.

    The hashes are `model.init_sha256` and `model.vision.sha256`.

    Paths of corpora and of the store are always made absolute, other paths only if they exist.

    Args:
        recipe: Plain values of a recipe, modified in place.
        base: Folder that relative paths start from.

    Raises:
        CheckpointError: If `model.init_from` is not a model folder.
    """
    for section in (*_list_corpora(recipe), *_list_parts(recipe)):
        _make_section_absolute(section, base)
    _make_value_absolute(recipe["store"], "root", base)
    for judge in recipe["evaluation"].get("judges", ()):
        # A recording may not exist yet, and a worker writes it in a folder of its own.
        key = "record" if judge["service"]["kind"] == "openai" else "recording"
        _make_value_absolute(judge["service"], key, base)
    # A hub id looks like a relative path, so only names that exist locally are made absolute.
    for section, key in _list_resource_keys(recipe):
        if (base / section[key]).exists():
            section[key] = str((base / section[key]).absolute())
    for estimator in _list_estimators(recipe):
        set_files_digest(estimator)
    # Follows the loop above, which made `init_from` absolute. A hash in the recipe is kept.
    model = recipe["model"]
    if model["init_from"] is not None and model["init_sha256"] is None:
        model["init_sha256"] = compute_weights_digest(Path(model["init_from"]))
    vision = model.get("vision")
    if vision is not None and vision["sha256"] is None:
        vision["sha256"] = compute_pretrained_digest(vision["pretrained"])


def make_source_paths_absolute(source: SourceConfig, base: Path) -> SourceConfig:
    """Return a source whose paths are absolute.

    Args:
        source: Source of a recipe.
        base: Folder that relative paths start from.
    """
    values = source.model_dump(mode="json")
    for corpus in _list_corpora({"source": values}):
        _make_section_absolute(corpus, base)
    return type(source).model_validate(values)


def _make_section_absolute(section: RecipeDict, base: Path) -> None:
    """Make the paths of data in a section absolute, in place."""
    for key in _PATH_KEYS:
        _make_value_absolute(section, key, base)


def _make_value_absolute(section: RecipeDict, key: str, base: Path) -> None:
    """Make a path absolute if it is set, in place."""
    if section.get(key) is not None:
        section[key] = str((base / section[key]).absolute())


def make_paths_portable(recipe: RecipeDict) -> None:
    """Remove the folders of this machine: reduce paths to file names, and unset data folders.

    `poses` of a corpus keeps its file name, because a recipe with crops is invalid without it. For
    the same reason, a `root` with `{estimator}` is reduced to this placeholder, and with several
    parts `videos` and the `root` beside it or of a part keep their file names.

    Args:
        recipe: Plain values of a recipe, modified in place.
    """
    for corpus in _list_corpora(recipe):
        corpus |= {split: Path(corpus[split]).name for split in SPLITS if corpus[split]}
        poses, root, videos = corpus.get("poses"), corpus.get("root"), corpus.get("videos")
        corpus |= {key: None for key in _FOLDER_KEYS if key in corpus}
        for stream in corpus.get("streams", ()):
            stream["folder"] = None
        if poses is not None:  # the recipe must stay valid: crops require `source.poses`
            corpus["poses"] = Path(poses).name or "poses"
        if root is not None and ESTIMATOR_PLACEHOLDER in root:
            corpus["root"] = ESTIMATOR_PLACEHOLDER
        if videos is not None and _list_parts(recipe):  # sources of parts are derived from it
            corpus["videos"] = Path(videos).name or "videos"
            corpus["root"] = corpus["root"] or Path(root or "").name or "poses"
    for part in _list_parts(recipe):
        root = part["root"]
        if root is not None:  # unset, it would be that of the corpus, with or without an estimator
            is_placeholder = ESTIMATOR_PLACEHOLDER in root
            part["root"] = ESTIMATOR_PLACEHOLDER if is_placeholder else Path(root).name or "media"
    recipe["store"]["root"] = None
    for extra_metric in recipe["evaluation"].get("extra_metrics", ()):
        # Consent to run a script is that of a person, not of whoever made the recipe.
        extra_metric |= {"trust_remote_code": False} if extra_metric["kind"] == "evaluate" else {}
    # Whoever evaluates the recipe elsewhere has other keys and servers, and pays for them.
    recipe["evaluation"] |= {"judges": []} if recipe["evaluation"].get("judges") else {}
    for section, key in _list_resource_keys(recipe):
        if Path(section[key]).is_absolute():
            section[key] = Path(section[key]).name
    for estimator in _list_estimators(recipe):
        if "command" in estimator:
            estimator["command"] = [
                Path(item).name if Path(item).is_absolute() else item
                for item in estimator["command"]
            ]


def restore_estimator_root(recipe: RecipeDict) -> None:
    """Set the `root` of each corpus that lacks it to `{estimator}` if the features name one.

    Earlier versions removed it from the recipes of bundles, which are invalid without it.

    Args:
        recipe: Plain values of a recipe of a model folder, modified in place.
    """
    if (recipe.get("features") or {}).get("estimator") is None:
        return
    for corpus in _list_corpora(recipe):
        if corpus.get("root") is None:
            corpus["root"] = ESTIMATOR_PLACEHOLDER


def strip_model_paths(recipe: RecipeDict) -> None:
    """Reduce paths and hub ids to their last component or to a hash of weights.

    `model.init_from` and local weights of `model.vision` are reduced to a hash.

    The configuration hash then does not depend on where models are stored.

    Args:
        recipe: Plain values of a recipe, modified in place.

    Raises:
        CheckpointError: If the hash is not recorded and `model.init_from` is not a model folder.
    """
    # Read before the loop, which reduces them to file names.
    init_from = recipe["model"]["init_from"]
    vision = recipe["model"].get("vision")
    vision_hash = (
        None
        if vision is None
        else vision["sha256"] or compute_pretrained_digest(vision["pretrained"])
    )
    for section, key in _list_resource_keys(recipe):
        section[key] = Path(section[key]).name
    if init_from is not None:
        # Model folders of runs all have the same name (`best`), so the weights identify them.
        recorded_hash = recipe["model"].pop("init_sha256")
        recipe["model"]["init_from"] = recorded_hash or compute_weights_digest(Path(init_from))
    if vision is not None:
        del vision["sha256"]
        # A hub id has no hash; its name identifies the weights.
        vision["pretrained"] = vision_hash or vision["pretrained"]
    normalize_hashed_vision(recipe["model"])


def set_encoder_dir(recipe: RecipeDict, encoder_dir: Path, part_index: int | None = None) -> None:
    """Set the folder of the files that compute a recipe's features; do nothing if it has none.

    They are a video or image model and a font, a frame embedder, or the tokenizer of source texts.

    Args:
        recipe: Plain values of a recipe, modified in place.
        encoder_dir: Folder of the model, such as that in a bundle.
        part_index: Index of the part with the model; None if the features have no parts.
    """
    features = recipe["features"] if part_index is None else _list_parts(recipe)[part_index]
    # Features have at most one of these.
    video_encoder, alignment = _get_encoder_sections(features)
    if alignment.get("embedder") is not None:
        alignment["embedder"] = str(encoder_dir)
    if "checkpoint" in video_encoder:
        video_encoder["checkpoint"] = str(encoder_dir / Path(video_encoder["checkpoint"]).name)
    if "pretrained" in video_encoder:
        video_encoder["pretrained"] = str(encoder_dir)
    if "pretrained" in _get_detector_section(features):
        detector_dir = encoder_dir / DETECTOR_FOLDER
        _get_detector_section(features)["pretrained"] = str(detector_dir)
    if features.get("font") is not None:
        features["font"] = str(encoder_dir / Path(features["font"]).name)
    if "path" in (features.get("tokenizer") or {}):
        features["tokenizer"]["path"] = str(encoder_dir)


def _get_encoder_sections(features: RecipeDict) -> tuple[RecipeDict, RecipeDict]:
    """Return the sections `encoder` and `reference` of features, empty if they are missing.

    The first configures a video model, the second the alignment with a reference motion.
    """
    return features.get("encoder") or {}, features.get("reference") or {}


def _get_detector_section(features: RecipeDict) -> RecipeDict:
    """Return the section of the detector that finds the signer; empty if there is none."""
    return (features.get("crop") or {}).get("detector") or {}


def _list_corpora(recipe: RecipeDict) -> list[RecipeDict]:
    """List the plain values of the corpora of a recipe and of the own sources of its parts."""
    sources = [
        recipe["source"],
        *(part["source"] for part in _list_parts(recipe) if part["source"]),
    ]
    return [
        corpus
        for source in sources
        for corpus in (source["corpora"] if source["kind"] == "corpora" else [source])
    ]


def _list_parts(recipe: RecipeDict) -> list[RecipeDict]:
    """List the plain values of the parts of combined features; empty for other features."""
    features = recipe.get("features") or {}
    return list(features["parts"]) if features.get("kind") == "combined" else []


def _list_estimators(recipe: RecipeDict) -> list[RecipeDict]:
    """List the estimators of joints of a recipe's corpora; none if its source was removed."""
    corpora = _list_corpora(recipe) if "source" in recipe else []
    return [corpus["estimator"] for corpus in corpora if corpus.get("estimator") is not None]


def _list_resource_keys(recipe: RecipeDict) -> list[tuple[RecipeDict, str]]:
    """List the section and the key of every path or hub id that is set, except those of the data.

    They name models, the tokenizer, WordNet and tables of predictions.
    """
    evaluation = recipe["evaluation"]
    neural_metrics = evaluation["neural_metrics"]
    resource_keys = [(recipe["model"]["backbone"], "pretrained"), (neural_metrics, "bleurt")]
    resource_keys.append((recipe["model"], "init_from"))
    for features in _list_parts(recipe) or [recipe.get("features") or {}]:
        video_encoder, alignment = _get_encoder_sections(features)
        detector = _get_detector_section(features)
        resource_keys += [(detector, "pretrained")] if "pretrained" in detector else []
        if "embedder" in alignment:
            resource_keys.append((alignment, "embedder"))
        resource_keys += [
            (video_encoder, key) for key in ("pretrained", "checkpoint") if key in video_encoder
        ]
        resource_keys += [(features, "font")] if "font" in features else []
        # Of source texts; a tokenizer without files has no path.
        source_tokenizer = features.get("tokenizer") or {}
        resource_keys += [(source_tokenizer, "path")] if "path" in source_tokenizer else []
    for estimator in _list_estimators(recipe):
        resource_keys += [(estimator, key) for key in ESTIMATOR_PATH_KEYS if key in estimator]
    if recipe["model"].get("vision") is not None:
        resource_keys.append((recipe["model"]["vision"], "pretrained"))
    if recipe["model"]["tokenizer"]["kind"] == "folder":
        resource_keys.append((recipe["model"]["tokenizer"], "path"))
    resource_keys.append((evaluation, "wordnet"))
    predictions = recipe["context"]["predictions"]
    resource_keys += [(predictions, split) for split in predictions]
    for metric in ("bertscore", "comet"):
        if neural_metrics.get(metric):
            resource_keys.append((neural_metrics[metric], "model"))
    if neural_metrics.get("comet"):
        resource_keys.append((neural_metrics["comet"], "source_table"))
    if (neural_metrics.get("bertscore") or {}).get("baseline"):
        resource_keys.append((neural_metrics["bertscore"], "baseline"))
    for extra_metric in evaluation.get("extra_metrics", ()):
        if extra_metric["kind"] == "evaluate":
            resource_keys.append((extra_metric, "name"))
        if "model_name_or_path" in extra_metric.get("arguments", ()):
            resource_keys.append((extra_metric["arguments"], "model_name_or_path"))
    return [(section, key) for section, key in resource_keys if section[key]]
