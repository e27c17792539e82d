"""The command `convert`: import settings, models and motions of other systems; export features.

One command handles four inputs, which are told apart by `--to` and the suffix of the file. Nothing
that a pickle asks for is executed.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from kinesweep.cli.console import JsonOption, print_json_result, print_line, wrap_command
from kinesweep.cli.model_import import ModelImport, convert_settings, import_checkpoint
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
    model_import = ModelImport(model, into, tokenizer)
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
        check_not_existing(overwrite, into)
        import_checkpoint(settings, out, model_import, texts, json_line)
        return
    if texts is not None:
        raise InputError(f"`--texts` requires a checkpoint, but `{settings}` is not one")
    check_not_existing(overwrite, out, into)
    convert_settings(settings, modality, out, model_import, json_line)


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
