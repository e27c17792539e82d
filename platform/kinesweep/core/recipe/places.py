"""Where a recipe's files are: made absolute for other processes, or left out for other machines.

Works on a recipe's plain values, in place. A name of a model that is no folder here is one of the
hub and stays as it is.
"""

from pathlib import Path
from typing import Any

from kinesweep.core.clip import SPLITS
from kinesweep.core.weights import weights_digest

Plain = dict[str, Any]
_FOLDERS = ("root", "videos", "features", "poses", "motions")
_PLACES = ("train", "validation", "test", *_FOLDERS)


def make_absolute(plain: Plain, base: Path) -> None:
    """Every local path from `base` on; weights that a run begins with are hashed now.

    Raises:
        CheckpointError: `model.init_from` is no model folder.
    """
    for corpus in _corpora(plain):
        for key in _PLACES:
            if corpus.get(key) is not None:
                corpus[key] = str((base / corpus[key]).absolute())
    if plain["store"]["root"] is not None:
        plain["store"]["root"] = str((base / plain["store"]["root"]).absolute())
    for part, key in _models(plain):
        if (base / part[key]).exists():
            part[key] = str((base / part[key]).absolute())
    model = plain["model"]
    if model["init_from"] is not None and model["init_sha256"] is None:
        model["init_sha256"] = weights_digest(Path(model["init_from"]))


def make_portable(plain: Plain) -> None:
    """Names of files alone, without folders, which tell of one machine."""
    for corpus in _corpora(plain):
        corpus |= {split: Path(corpus[split]).name for split in SPLITS if corpus[split]}
        poses = corpus.get("poses")
        corpus |= {key: None for key in _FOLDERS if key in corpus}
        for stream in corpus.get("streams", ()):
            stream["folder"] = None
        if poses is not None:  # crops need some folder, of whatever name
            corpus["poses"] = Path(poses).name or "poses"
    plain["store"]["root"] = None
    for part, key in _models(plain):
        if Path(part[key]).is_absolute():
            part[key] = Path(part[key]).name


def make_placeless(plain: Plain) -> None:
    """The model's part as far as it says what is computed: wherever its folders lie."""
    start = plain["model"]["init_from"]
    for part, key in _models(plain):
        part[key] = Path(part[key]).name
    if start is not None:  # folders of runs are called alike, so the weights themselves count
        known = plain["model"].pop("init_sha256")
        plain["model"]["init_from"] = known or weights_digest(Path(start))


def put_encoder(plain: Plain, folder: Path) -> None:
    """The video model of a bundle, or its embedder, which lies in `folder`."""
    encoder, reference = _seeing(plain)
    if reference.get("embedder") is not None:
        reference["embedder"] = str(folder)
    if "checkpoint" in encoder:
        encoder["checkpoint"] = str(folder / Path(encoder["checkpoint"]).name)
    if "pretrained" in encoder:
        encoder["pretrained"] = str(folder)


def _seeing(plain: Plain) -> tuple[Plain, Plain]:
    """The parts of `features` that may name a model: a video's encoder, a reference's alignment."""
    features = plain.get("features", {})
    return features.get("encoder") or {}, features.get("reference") or {}


def _corpora(plain: Plain) -> list[Plain]:
    """The plain values of each corpus."""
    source = plain["source"]
    return list(source["corpora"]) if source["kind"] == "corpora" else [source]


def _models(plain: Plain) -> list[tuple[Plain, str]]:
    """Where a recipe names a model's folder or hub id, a table of texts, or WordNet's folder."""
    evaluation = plain["evaluation"]
    learned = evaluation["learned"]
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
