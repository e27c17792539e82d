"""The verb between systems: takes over settings, models and motions, and writes features."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from kinesweep.cli.output import JsonOption, emit, progress, say, verb
from kinesweep.core.errors import InputError
from kinesweep.core.pickles import may_hold_pickle

_CHECKPOINTS = (".pth", ".pt")


@verb
def convert(  # noqa: PLR0913 (options of a verb)
    settings: Annotated[
        Path,
        typer.Argument(
            help="A MultimodalHugs YAML, SSVP-SLT's best_model.pth, or a Sign_LLaVA's"
            " mp_rank_00_model_states.pt, or pickled motions (.pkl, .npy); with `--to`, a feature"
            " store or a recipe whose store is meant.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            help="The recipe: written for a YAML, read for a checkpoint; for motions a .tsv; with"
            " `--to`, a new folder.",
            show_default=False,
        ),
    ],
    model: Annotated[
        Path | None, typer.Option(help="Import this model folder, trained with the settings.")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Its tokenizer's folder; default: the model's.")
    ] = None,
    into: Annotated[Path | None, typer.Option(help="Folder for the imported model.")] = None,
    texts: Annotated[
        Path | None,
        typer.Option(
            help="Training texts, one a line: a checkpoint's case.", exists=True, dir_okay=False
        ),
    ] = None,
    to: Annotated[
        Literal["h5_shards"] | None,
        typer.Option(help="Write the features of a store in this layout: Sign_LLaVA's."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    json_line: JsonOption = False,
) -> None:
    """Turn another system's settings into a recipe, and a model trained with them into ours.

    Says what could not be carried over, and what behaves differently here. A checkpoint of
    SSVP-SLT's is imported as the recipe's model: convert best_model.pth RECIPE --into FOLDER.
    So are projectors of Sign_LLaVA's first stage, over the recipe's language model; the folder is
    what `model.init_from` of the second stage takes.
    Features of all streams become Sign_LLaVA's annotations and shards: convert RECIPE FOLDER --to
    h5_shards; a source of the kind `h5_shards` reads them back.
    Pickled motions with texts become a table and an .npz, convert MOTIONS.pkl TABLE.tsv, for a
    source of the kind `skeletons`. Nothing that a pickle asks for is run.

    Example: kinesweep convert jobs/foreign/multimodalhugs.yaml /tmp/converted.yml --overwrite
    """
    if to is not None:
        if any(given is not None for given in (model, tokenizer, into, texts)):
            raise InputError("`--to` writes features; it takes no option but `--overwrite`")
        _write_shards(settings, out, overwrite, json_line)
        return
    if may_hold_pickle(settings):
        if any(given is not None for given in (model, tokenizer, into, texts)):
            raise InputError(f"`{settings}` holds motions; they take no option but `--overwrite`")
        _convert_motions(settings, out, overwrite, json_line)
        return
    if settings.suffix in _CHECKPOINTS:
        if into is None or model is not None:
            raise InputError(f"`{settings}` is a checkpoint: give `--into`, and no `--model`")
        _check_free(overwrite, into)
        _import_checkpoint(settings, out, into, tokenizer, texts, json_line)
        return
    if texts is not None:
        raise InputError(f"`--texts` is for a checkpoint, but `{settings}` is none")
    if (model is None) != (into is None):
        raise InputError("`--model` and `--into` belong together")
    _check_free(overwrite, out, into)
    _convert_settings(settings, out, model, into, tokenizer, json_line)


def _write_shards(place: Path, out: Path, overwrite: bool, json_line: bool) -> None:
    import yaml

    from kinesweep.cli.data import store_at
    from kinesweep.store.hand_over_shards import hand_over_shards

    store, _ = store_at(place)
    with progress("convert") as update:
        done = hand_over_shards(store, out, overwrite, update)
    say(f"{out}: " + ", ".join(f"{split} {clips}" for split, clips in done.clips.items()))
    for name, count in done.left.items():
        say(f"left out  {name}: of {count} clips; the layout has no place for it")
    for stream in done.source["streams"]:
        if "fps" not in stream:
            say(f"mind      clips of `{stream['name']}` differ in their rate; give one as `fps`")
    source = yaml.safe_dump({"source": done.source}, sort_keys=False, default_flow_style=None)
    say(f"to read them back, from {out}:\n{source}".rstrip())
    emit({"folder": str(out), **vars(done)}, json_line)


def _convert_motions(path: Path, out: Path, overwrite: bool, json_line: bool) -> None:
    from kinesweep.foreign.motion_pickle import convert_motions

    _check_free(overwrite, out, out.with_suffix(".npz"))
    done = convert_motions(path, out)
    say(f"{done.table}: {done.clips} clips; {done.pack}: {done.points} points")
    for key, count in done.left.items():
        say(f"left out  {key}: of {count} records")
    say(f"to read them: source.kind=skeletons source.train={done.table} source.fps=…")
    plain = {**vars(done), "table": str(done.table), "pack": str(done.pack)}
    emit(plain, json_line)


def _check_free(overwrite: bool, *paths: Path | None) -> None:
    for path in paths:
        if path is not None and path.exists() and not overwrite:
            raise InputError(f"`{path}` is there already; give another place, or `--overwrite`")


def _convert_settings(
    settings: Path,
    out: Path,
    model: Path | None,
    into: Path | None,
    tokenizer: str | None,
    json_line: bool,
) -> None:
    from kinesweep.foreign import convert_settings
    from kinesweep.training.model_files import recipe_text

    converted = convert_settings(settings)
    for key, why in converted.left.items():
        say(f"left out  {key}: {why}")
    for note in converted.notes:
        say(f"mind      {note}")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(recipe_text(converted.recipe), encoding="utf-8")
    say(f"recipe    {out}")
    if model is not None and into is not None:
        from kinesweep.foreign import import_model  # PyTorch: seconds

        imported = import_model(model, converted.recipe, into, tokenizer)
        _say_size(into, sum(parameter.numel() for parameter in imported.parameters()))
    emit({"recipe": str(out), "left": converted.left, "notes": converted.notes}, json_line)


def _import_checkpoint(
    path: Path,
    recipe: Path,
    into: Path,
    tokenizer: str | None,
    texts: Path | None,
    json_line: bool,
) -> None:
    from kinesweep.core.config import load
    from kinesweep.core.recipe import Recipe
    from kinesweep.foreign import import_projectors, import_ssvp

    read = load(Recipe, recipe)
    lines = () if texts is None else texts.read_text(encoding="utf-8").splitlines()
    if read.model.backbone.kind == "causal":
        if lines:
            raise InputError("`--texts` is for SSVP-SLT's models; projectors write no text")
        imported = import_projectors(path, read, into, tokenizer)
    else:
        imported = import_ssvp(path, read, into, tokenizer, lines)
    count = sum(parameter.numel() for parameter in imported.parameters())
    _say_size(into, count)
    emit({"model": str(into), "recipe": str(recipe), "parameters": count}, json_line)


def _say_size(into: Path, count: int) -> None:
    say(f"model     {into} ({count:,} parameters, every tensor accounted for)")
