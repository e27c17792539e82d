"""Path handling of recipes: absolute paths for other processes, no folders for other machines.

The functions modify a recipe's plain values in place. A model name that is not a local folder is
taken for a hub id and stays unchanged.
"""

from pathlib import Path
from typing import Any

from kinesweep.core.checkpoint_files import weights_digest
from kinesweep.core.clip import SPLITS

Plain = dict[str, Any]
# Keys of a source whose values are folders, for all kinds of sources.
_FOLDERS = ("root", "videos", "features", "poses", "motions")
_PLACES = ("train", "validation", "test", *_FOLDERS)


def make_absolute(plain: Plain, base: Path) -> None:
    """Make all local paths absolute, and record the hash of the weights in `model.init_from`.

    Args:
        plain: Plain values of a recipe, modified in place.
        base: Folder that relative paths start from.

    Raises:
        CheckpointError: If `model.init_from` is not a model folder.
    """
    for corpus in _corpora(plain):
        for key in _PLACES:
            if corpus.get(key) is not None:
                corpus[key] = str((base / corpus[key]).absolute())
    if plain["store"]["root"] is not None:
        plain["store"]["root"] = str((base / plain["store"]["root"]).absolute())
    # A hub id looks like a relative path, so only names that exist locally are made absolute.
    for part, key in _models(plain):
        if (base / part[key]).exists():
            part[key] = str((base / part[key]).absolute())
    # Follows the loop above, which made `init_from` absolute. A hash in the recipe is kept.
    model = plain["model"]
    if model["init_from"] is not None and model["init_sha256"] is None:
        model["init_sha256"] = weights_digest(Path(model["init_from"]))


def make_portable(plain: Plain) -> None:
    """Reduce paths to file names, because folders are specific to one machine."""
    for corpus in _corpora(plain):
        corpus |= {split: Path(corpus[split]).name for split in SPLITS if corpus[split]}
        poses = corpus.get("poses")
        corpus |= {key: None for key in _FOLDERS if key in corpus}
        for stream in corpus.get("streams", ()):
            stream["folder"] = None
        if poses is not None:  # the recipe must stay valid: crops require `source.poses`
            corpus["poses"] = Path(poses).name or "poses"
    plain["store"]["root"] = None
    for part, key in _models(plain):
        if Path(part[key]).is_absolute():
            part[key] = Path(part[key]).name


def strip_paths(plain: Plain) -> None:
    """Remove the locations of models, so that the configuration hash ignores them."""
    # Read before the loop, which reduces it to a file name.
    start = plain["model"]["init_from"]
    for part, key in _models(plain):
        part[key] = Path(part[key]).name
    if start is not None:
        # Model folders of runs all have the same name (`best`), so the weights identify them.
        known = plain["model"].pop("init_sha256")
        plain["model"]["init_from"] = known or weights_digest(Path(start))


def put_encoder(plain: Plain, folder: Path) -> None:
    """Point the video model or embedder of a recipe to a bundle's folder."""
    # A bundle has at most one of these: a video model, or the embedder of an alignment.
    encoder, reference = _seeing(plain)
    if reference.get("embedder") is not None:
        reference["embedder"] = str(folder)
    if "checkpoint" in encoder:
        encoder["checkpoint"] = str(folder / Path(encoder["checkpoint"]).name)
    if "pretrained" in encoder:
        encoder["pretrained"] = str(folder)


def _seeing(plain: Plain) -> tuple[Plain, Plain]:
    """Return the sections `features.encoder` and `features.reference`, which may name a model."""
    features = plain.get("features", {})
    return features.get("encoder") or {}, features.get("reference") or {}


def _corpora(plain: Plain) -> list[Plain]:
    """Return the plain values of each corpus."""
    source = plain["source"]
    return list(source["corpora"]) if source["kind"] == "corpora" else [source]


def _models(plain: Plain) -> list[tuple[Plain, str]]:
    """Return the section and key of each model folder, hub id, prediction table and WordNet."""
    evaluation = plain["evaluation"]
    learned = evaluation["neural_metrics"]
    places = [(plain["model"]["backbone"], "pretrained"), (learned, "bleurt")]
    places.append((plain["model"], "init_from"))
    encoder, reference = _seeing(plain)
    places += [(reference, key) for key in ("embedder",) if key in reference]
    places += [(encoder, key) for key in ("pretrained", "checkpoint") if key in encoder]
    if plain["model"]["tokenizer"]["kind"] == "folder":
        places.append((plain["model"]["tokenizer"], "path"))
    places.append((evaluation, "wordnet"))
    predictions = plain["context"]["predictions"]
    places += [(predictions, split) for split in predictions]
    if learned["bertscore"]:
        places.append((learned["bertscore"], "model"))
    return [(part, key) for part, key in places if part[key]]
