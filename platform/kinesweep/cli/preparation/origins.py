"""The origins of a corpus: published files, motions, TensorFlow Datasets and Hugging Face."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from kinesweep.core.errors import InputError

if TYPE_CHECKING:
    from kinesweep.sources.prepare.media.prompts import Prompts
    from kinesweep.sources.prepare.preparation_result import PreparationResult

_IMPORT_OPTIONS = (
    "media",
    "fps",
    "config",
    "limit",
    "prompt_encoder",
    "prompt_decoder",
    "language",
)
_OPTIONS_BY_ORIGIN: Mapping[str, Sequence[str]] = {
    "files": ("languages", "media"),
    "motions": (
        *("min_frames", "max_frames", "mirrored"),
        *("texts", "max_references", "motion_features"),
    ),
    "tfds": (
        *_IMPORT_OPTIONS,
        *("pose_type", "attributes", "builder_options", "data_dir", "python", "text_column"),
    ),
    "hf": (*_IMPORT_OPTIONS, "columns", "revision", "pose_header", "time_unit"),
}
"""Origin → names of the parameters that only some have; `motions` are humanml3d and kit_ml."""


def run_preparation(
    context: typer.Context, origin: str, corpus: str, paths: Sequence[Path]
) -> tuple["PreparationResult", Path]:
    """Prepare a corpus, and return the result and the folder that contains its media.

    Args:
        context: Call of the command, with the values of all options.
        origin: `files`, `tfds` or `hf`.
        corpus: Name of the corpus.
        paths: Folders of the origin; the last one is that of the tables.

    Raises:
        InputError: If an option or a number of folders does not belong to the origin, or for the
            reasons of the preparation.
    """
    is_motions = origin == "files" and _is_motion_corpus(corpus)
    _check_options(context, "motions" if is_motions else origin)
    expected = "FOLDER OUT" if is_motions else "ANNOTATIONS POSES OUT"
    expected = expected if origin == "files" else "OUT"
    if len(paths) != len(expected.split()):
        name = corpus if is_motions else f"--from {origin}"
        raise InputError(f"`{name}` takes {expected} after the corpus; got {len(paths)}")
    values, out = context.params, paths[-1]
    if is_motions:
        return _prepare_motions(corpus, paths[0], out, values), paths[0]
    if origin == "files":
        return _prepare_files(corpus, paths, values), paths[1]
    from kinesweep.sources.prepare.media.prompts import Prompts

    prompts = Prompts(values["prompt_encoder"], values["prompt_decoder"], values["language"])
    prepare = _prepare_tfds if origin == "tfds" else _prepare_hub
    return prepare(corpus, out, prompts, values), out


def _is_motion_corpus(corpus: str) -> bool:
    """Return whether a corpus has motions with captions, HumanML3D or KIT-ML."""
    from kinesweep.sources.prepare.motions import MOTION_CORPORA

    return corpus in MOTION_CORPORA


def _check_options(context: typer.Context, origin: str) -> None:
    """Check that every given option belongs to the origin.

    Raises:
        InputError: If one does not; names it and the origins that it belongs to.
    """
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        origins = [key for key, names in _OPTIONS_BY_ORIGIN.items() if name in names]
        if origins and origin not in origins and source is not None and source.name != "DEFAULT":
            others = " and ".join(_format_origin(key) for key in origins)
            raise InputError(
                f"`{parameter.opts[0]}` belongs to {others}, not to {_format_origin(origin)}"
            )


def _format_origin(origin: str) -> str:
    """Format an origin as people choose it."""
    return "`humanml3d` and `kit_ml`" if origin == "motions" else f"`--from {origin}`"


def _prepare_motions(
    corpus: str, folder: Path, out: Path, values: Mapping[str, Any]
) -> "PreparationResult":
    """Prepare a corpus of motions with captions with the options of the command."""
    from kinesweep.sources.prepare.motions import MotionSettings, prepare_motion_corpus

    settings = MotionSettings(
        min_frames=values["min_frames"],
        max_frames=values["max_frames"],
        mirrored=values["mirrored"],
        texts=values["texts"],
        max_references=values["max_references"],
        features=values["motion_features"],
    )
    return prepare_motion_corpus(corpus, folder, out, settings, values["overwrite"])


def _prepare_files(
    corpus: str, paths: Sequence[Path], values: Mapping[str, Any]
) -> "PreparationResult":
    """Prepare a corpus from its published files.

    Raises:
        InputError: If there is no such corpus, or for the reasons of `prepare_corpus`.
    """
    from kinesweep.config.suggestions import suggest_closest_word
    from kinesweep.sources.prepare import ANNOTATION_READERS, prepare_corpus
    from kinesweep.sources.prepare.motions import MOTION_CORPORA

    if corpus not in ANNOTATION_READERS:
        names = [*ANNOTATION_READERS, *MOTION_CORPORA]
        hint = suggest_closest_word(corpus, names)
        raise InputError(
            f"there are no published files of `{corpus}`{hint}; available:"
            f" {', '.join(names)}; others may be in `--from tfds`"
        )
    # Codes are compared in lower case, and `de, en` may contain spaces.
    given = (values["languages"] or "").lower().split(",")
    codes = [code.strip() for code in given if code.strip()]
    overwrite, media = values["overwrite"], values["media"]
    tables, root, out = paths
    return prepare_corpus(corpus, tables, root, out, overwrite, codes, media=media)


def _prepare_tfds(
    corpus: str, out: Path, prompts: "Prompts", values: Mapping[str, Any]
) -> "PreparationResult":
    """Prepare a corpus of TensorFlow Datasets with the options of the command."""
    from kinesweep.pipelines.corpus_preparation import prepare_from_tfds
    from kinesweep.sources.prepare.tfds.tfds_request import TfdsSettings, parse_config_value

    if values["media"] == "features":
        raise InputError("`--media features` belongs to `--from hf`; use poses or videos")
    attributes = _parse_pairs("--set", values["attributes"])
    settings = TfdsSettings(
        media=values["media"] or "poses",
        pose_type=values["pose_type"],
        fps=values["fps"],
        config_name=values["config"],
        config={key: parse_config_value(value) for key, value in attributes.items()},
        builder_options=_parse_pairs("--builder-option", values["builder_options"]),
        data_dir=values["data_dir"],
        text_field=values["text_column"],
        limit=values["limit"],
    )
    python, overwrite = values["python"], values["overwrite"]
    return prepare_from_tfds(
        corpus, out, settings, prompts=prompts, python=python, overwrite=overwrite
    )


def _prepare_hub(
    name: str, out: Path, prompts: "Prompts", values: Mapping[str, Any]
) -> "PreparationResult":
    """Prepare a data set of Hugging Face with the options of the command."""
    from kinesweep.pipelines.corpus_preparation import prepare_from_hub
    from kinesweep.sources.prepare.hub.hub_preparation import HubSettings

    if values["fps"] is not None and not values["fps"] > 0:
        raise InputError(f"`--fps` must be above 0, but is {values['fps']:g}")
    settings = HubSettings(
        config=values["config"],
        revision=values["revision"],
        media=values["media"],
        columns=_parse_pairs("--column", values["columns"]),
        pose_header=values["pose_header"],
        fps=values["fps"],
        time_unit=values["time_unit"],
        limit=values["limit"],
    )
    return prepare_from_hub(name, out, settings, prompts=prompts, overwrite=values["overwrite"])


def _parse_pairs(option: str, pairs: Sequence[str] | None) -> dict[str, str]:
    """Parse the values `KEY=VALUE` of an option.

    Raises:
        InputError: If one has no `=`, or a key is given twice.
    """
    values: dict[str, str] = {}
    for pair in pairs or ():
        key, separator, value = pair.partition("=")
        if not separator or not key or not value:
            raise InputError(f"`{option}` must be KEY=VALUE, but is `{pair}`")
        if key in values:
            raise InputError(f"`{option}` sets `{key}` twice")
        values[key] = value
    return values
