"""The command `convert`: import settings, models and motions of other systems; export features.

One command handles four inputs, which are told apart by `--to` and the suffix of the file. Nothing
that a pickle asks for is executed.
"""

from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import typer

from kinesweep.cli.console import JsonOption, print_json_result, print_line, wrap_command
from kinesweep.cli.motion_conversion import (
    Joints,
    MotionOptions,
    check_motion_options,
    check_not_existing,
    convert_motions,
    is_motion_input,
)
from kinesweep.core.errors import InputError
from kinesweep.pipelines.progress import show_progress_bar

_CHECKPOINT_SUFFIXES = (".pth", ".pt")


@wrap_command
def convert(  # noqa: PLR0913 (options of a command)
    settings: Annotated[
        Path,
        typer.Argument(
            help="A MultimodalHugs YAML, SSVP-SLT's best_model.pth, Sign_LLaVA's"
            " mp_rank_00_model_states.pt, or pickled motions (.pkl, .npy); with `--to`, a feature"
            " store or a recipe whose store is used.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            help="A recipe, which is written for a YAML and read for a checkpoint; for motions a"
            " .tsv to write; with `--to` a new folder.",
            show_default=False,
        ),
    ],
    model: Annotated[
        Path | None, typer.Option(help="Model folder to import; it was trained with the settings.")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Tokenizer folder or Hub id. Default: the model's own.")
    ] = None,
    into: Annotated[Path | None, typer.Option(help="Folder for the imported model.")] = None,
    texts: Annotated[
        Path | None,
        typer.Option(
            help="Training texts, one per line, from which an SSVP-SLT checkpoint learns casing.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    modality: Annotated[
        Literal[
            "pose2text",
            "video2text",
            "features2text",
            "image2text",
            "signwriting2text",
            "text2text",
        ]
        | None,
        typer.Option(help="Task of MultimodalHugs settings that do not state it."),
    ] = None,
    to: Annotated[
        Literal["h5_shards"] | None,
        typer.Option(help="Write the features of a store in this layout (that of Sign_LLaVA)."),
    ] = None,
    third: Annotated[
        Literal["z", "confidence", "none"] | None,
        typer.Option(
            help="Meaning of the third value of a point in motions; required for all but the 22 and"
            " 24 joints of SMPL. `none` leaves it out."
        ),
    ] = None,
    setting: Annotated[
        Literal["gt", "error", "aligned", "none"] | None,
        typer.Option(
            help="Setting of CoachMe's data (BX_train.pkl, FS_train.pkl): which records are clips,"
            " and their segments; `none`: whole clips."
        ),
    ] = None,
    standards: Annotated[
        Path | None,
        typer.Option(
            help="CoachMe's standard motions (BX_standard.pkl), the references of the clips.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    joints: Annotated[
        Joints | None,
        typer.Option(
            help="Joints of HybrIK's output that are converted; `pred_xyz_24_struct` is what"
            " CoachMe's data consist of. Default: the first that a file has."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    json_line: JsonOption = False,
) -> None:
    """Import settings, models or motions of another system, or export features for one.

    Settings of MultimodalHugs become a recipe, and their trained model (--model) becomes a
    Kinesweep model. Reports which settings could not be converted and which behave differently;
    docs/multimodalhugs.md lists all of them. Files from before version 0.5 do not state what their
    inputs are; where their keys do not tell, pass --modality.
    An SSVP-SLT checkpoint is imported as the recipe's model: convert best_model.pth RECIPE --into
    FOLDER. Projectors of Sign_LLaVA's first stage are imported the same way, on top of the
    recipe's language model; use the folder as `model.init_from` of the second stage.
    Features of all streams are written as Sign_LLaVA's annotations and shards: convert RECIPE
    FOLDER --to h5_shards; a source of the kind `h5_shards` reads them.
    Pickled motions with texts are converted to a table and an .npz: convert MOTIONS.pkl TABLE.tsv;
    a source of the kind `skeletons` reads them. No code in a pickle is executed. CoachMe's data
    needs --setting, and --standards for its references; docs/coachme.md explains both.

    Example: kinesweep convert jobs/interop/multimodalhugs.yaml /tmp/converted.yml --overwrite
    """
    motion_options = MotionOptions(third, setting, standards, joints)
    check_motion_options(motion_options, settings, to)
    has_model_options = any(option is not None for option in (model, tokenizer, into, texts))
    # The first match wins. `--to` comes first, because its input is a store and has no suffix.
    if to is not None:
        if has_model_options:
            raise InputError("`--to` writes features and can only be combined with `--overwrite`")
        _write_shards(settings, out, overwrite, json_line)
        return
    if is_motion_input(settings):
        if has_model_options:
            raise InputError(f"`{settings}` contains motions; see `--setting` and `--third`")
        convert_motions(settings, out, motion_options, overwrite, json_line)
        return
    if settings.suffix in _CHECKPOINT_SUFFIXES:
        if into is None or model is not None:
            raise InputError(
                f"`{settings}` is a checkpoint; pass `--into FOLDER` and leave out `--model`"
            )
        check_not_existing(overwrite, into)
        _import_checkpoint(settings, out, into, tokenizer, texts, json_line)
        return
    if texts is not None:
        raise InputError(f"`--texts` requires a checkpoint, but `{settings}` is not one")
    check_not_existing(overwrite, out, into)
    _convert_settings(settings, modality, out, _ModelImport(model, into, tokenizer), json_line)


def _write_shards(store_path: Path, out: Path, overwrite: bool, json_line: bool) -> None:
    """Write a store's features in Sign_LLaVA's layout and print a `source` that reads them.

    Args:
        store_path: Feature store, or recipe whose store is used.
        out: Output folder.
        overwrite: Whether an earlier export is replaced.
        json_line: Whether the result is also printed as JSON.

    Raises:
        InputError: If the folder contains anything but an earlier export that may be replaced.
        StoreError: If there is no such store or if it is damaged.
    """
    import yaml

    from kinesweep.pipelines.extraction import open_store_from_path
    from kinesweep.store.export.export_h5 import export_h5_shards

    store, _ = open_store_from_path(store_path)
    with show_progress_bar("convert") as update:
        result = export_h5_shards(store, out, overwrite, update)
    print_line(f"{out}: " + ", ".join(f"{split} {clips}" for split, clips in result.clips.items()))
    for name, count in result.left.items():
        print_line(f"left out  {name} of {count} clips; the layout cannot store it")
    for stream in result.source["streams"]:
        if "fps" not in stream:
            print_line(
                f"note      clips of `{stream['name']}` differ in frame rate; set `fps` yourself"
            )
    source = yaml.safe_dump({"source": result.source}, sort_keys=False, default_flow_style=None)
    print_line(f"to read the features from {out}:\n{source}".rstrip())
    print_json_result({"folder": str(out), **vars(result)}, json_line)


class _ModelImport(NamedTuple):
    """Folders and tokenizer of a trained model of MultimodalHugs that is imported.

    Attributes:
        source_dir: Folder of the trained model; None: only the settings are converted.
        output_dir: Folder to which the imported model is written; None: see above.
        tokenizer: Tokenizer folder or Hub id; None: the tokenizer in `source_dir`.
    """

    source_dir: Path | None
    output_dir: Path | None
    tokenizer: str | None


def _convert_settings(
    settings_path: Path,
    modality: str | None,
    recipe_path: Path,
    model: _ModelImport,
    json_line: bool,
) -> None:
    """Convert settings of MultimodalHugs to a recipe, and import the model trained with them.

    Prints which settings are left out and which behave differently.

    Args:
        settings_path: YAML file of the settings.
        modality: Task of settings that do not state it; None: find it out.
        recipe_path: File to which the recipe is written; an existing file is replaced.
        model: Model to import, if any.
        json_line: Whether the result is also printed as JSON.

    Raises:
        CheckpointError: If the model lacks files, or if its tensors do not match the recipe.
        ConfigError: If the settings cannot be read or do not give a valid recipe.
        InputError: If only one of the model folders is given, or if the settings or the model have
            a part without an equivalent.
    """
    if (model.source_dir is None) != (model.output_dir is None):
        raise InputError("`--model` and `--into` must be given together")
    from kinesweep.checkpoints.model_dir_files import format_recipe_yaml
    from kinesweep.interop import convert_multimodalhugs_settings

    conversion = convert_multimodalhugs_settings(settings_path, modality)
    for key, reason in conversion.unconverted.items():
        print_line(f"left out  {key}: {reason}")
    for note in conversion.notes:
        print_line(f"note      {note}")
    recipe_path.parent.mkdir(parents=True, exist_ok=True)
    recipe_path.write_text(format_recipe_yaml(conversion.recipe), encoding="utf-8")
    print_line(f"recipe    {recipe_path}")
    if model.source_dir is not None and model.output_dir is not None:
        from kinesweep.interop import import_multimodalhugs_model  # PyTorch: seconds

        imported_model = import_multimodalhugs_model(
            model.source_dir, conversion.recipe, model.output_dir, model.tokenizer
        )
        num_parameters = sum(parameter.numel() for parameter in imported_model.parameters())
        _print_imported_model(model.output_dir, num_parameters)
    print_json_result(
        {
            "recipe": str(recipe_path),
            "left": conversion.unconverted,
            "notes": conversion.notes,
        },
        json_line,
    )


def _import_checkpoint(
    path: Path,
    recipe: Path,
    model_dir: Path,
    tokenizer: str | None,
    texts: Path | None,
    json_line: bool,
) -> None:
    """Import a checkpoint of SSVP-SLT or projectors of Sign_LLaVA as the model of a recipe.

    A causal backbone in the recipe means that the checkpoint contains projectors.

    Args:
        path: File of the checkpoint.
        recipe: File of the recipe.
        model_dir: Folder to which the imported model is written.
        tokenizer: Tokenizer folder or Hub id; None: the one that the recipe names.
        texts: File of training texts, from which a model of SSVP-SLT learns casing; None: none.
        json_line: Whether the result is also printed as JSON.

    Raises:
        ConfigError: If the recipe is invalid.
        InputError: If texts are given for projectors, or if the recipe does not fit the checkpoint.
        CheckpointError: If the checkpoint cannot be read or does not match the recipe.
    """
    from kinesweep.config.loading import load_config
    from kinesweep.config.recipe import Recipe
    from kinesweep.interop import import_sign_llava_projectors, import_ssvp

    loaded_recipe = load_config(Recipe, recipe)
    lines = () if texts is None else texts.read_text(encoding="utf-8").splitlines()
    if loaded_recipe.model.backbone.kind == "causal":
        if lines:
            raise InputError(
                "`--texts` applies to SSVP-SLT's models only; projectors do not generate text"
            )
        imported_model = import_sign_llava_projectors(path, loaded_recipe, model_dir, tokenizer)
    else:
        imported_model = import_ssvp(path, loaded_recipe, model_dir, tokenizer, lines)
    num_parameters = sum(parameter.numel() for parameter in imported_model.parameters())
    _print_imported_model(model_dir, num_parameters)
    print_json_result(
        {"model": str(model_dir), "recipe": str(recipe), "parameters": num_parameters}, json_line
    )


def _print_imported_model(model_dir: Path, num_parameters: int) -> None:
    """Print the folder of an imported model and its number of parameters."""
    print_line(f"model     {model_dir} ({num_parameters:,} parameters; every tensor was matched)")
