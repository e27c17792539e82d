"""What a model looks at in a clip, as a page: a raw file, or a clip of a store."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kinesweep.batches.collate import Row
from kinesweep.cli.data import store_at
from kinesweep.cli.output import say
from kinesweep.cli.workflows import model_folder, store_of
from kinesweep.core.errors import InputError, StoreError
from kinesweep.core.schema import StreamSchema
from kinesweep.export import Bundle, find_inputs
from kinesweep.export.bundle import MANIFEST, PROMPTS, common_prompts
from kinesweep.report.attention import Page, write_attention
from kinesweep.report.scene import Scene, scene_of, scenes_of
from kinesweep.store import Store
from kinesweep.store.index import ClipRecord
from kinesweep.store.show import find_clip
from kinesweep.training.attending import Attended, attend, row_of
from kinesweep.training.model_folder import ModelFolder, read_model_folder

_ALONE = (
    "The model reads sentences that precede a clip; here the clip stands alone, as a file does."
)
_OTHERS = (
    "The features are not those that the model was trained on, so it may say another text than of"
    " its own."
)
_OWN = "The model compares a motion with another; here the motion is compared with itself."
_TRUE = (
    "The model reads its own sentences before a clip; here it read the true ones, as in training."
)


def write_page(place: Path, clip: str, out: Path, store: Path | None) -> dict[str, Any]:
    """Translates a clip, writes the page, and says what was said.

    Args:
        place: a bundle, a run, or its `best`.
        clip: a file that `translate` takes; with `store` a clip's id.
        out: the page.
        store: a store or a recipe whose store is meant; None: `clip` is a file.

    Raises:
        InputError: the clip is not one, or the model shows no attention.
    """
    page = _of_file(place, Path(clip)) if store is None else _of_store(place, clip, store)
    write_attention(out, page)
    shares = shares_of(page.attended)
    say(f"{clip}\t{page.attended.text}")
    say("looked at " + ", ".join(f"{what} {share:.1%}" for what, share in shares.items()))
    say(f"page    {out}")
    return {"page": str(out), "text": page.attended.text, "shares": shares}


def page_of_record(loaded: ModelFolder, store: Store, record: ClipRecord, model: str) -> Page:
    """The page of a store's clip.

    Raises:
        InputError: as `attend` and `row_of`.
    """
    known = [name for name, stream in store.schema.streams.items() if stream.layout is not None]
    context = loaded.recipe.context
    own = context.is_used and context.generation == "on_the_fly"
    return Page(
        clip=record.clip.id,
        model=model,
        attended=attend(loaded, row_of(loaded, store, record)),
        rates_hz=record.rates_hz,
        lengths=record.lengths,
        scenes=scenes_of(store, record) if known else [],
        references=record.clip.texts,
        notes=[_TRUE] if own else [],
    )


def shares_of(attended: Attended) -> dict[str, float]:
    """What of all attention went where, the mean over layers, heads and tokens."""
    found: dict[str, float] = {}
    weights_AHLM = attended.attention.weights_AHLM
    for places in attended.attention.places:
        if places.end > places.first:
            name = places.stream if places.kind == "stream" else places.kind
            part = weights_AHLM[..., places.first : places.end].sum(-1).mean()
            found[name] = found.get(name, 0.0) + round(float(part), 6)
    return found


def name_of(place: Path) -> str:
    """What people call a model: its bundle, or its run; pages leave the machine, paths do not."""
    folder = place.resolve()
    return folder.parent.name if folder.name == "best" else folder.name


def _of_store(place: Path, clip: str, store: Path) -> Page:
    opened, _ = store_at(store)
    record = find_clip(opened, clip)
    loaded = read_model_folder(model_folder(place))
    page = page_of_record(loaded, opened, record, name_of(place))
    if loaded.features["store_fingerprint"] in {"", opened.fingerprint}:
        return page
    say(f"`{store}`: {_OTHERS}")
    return replace(page, notes=[*page.notes, _OTHERS])


def _of_file(place: Path, file: Path) -> Page:
    bundle = _bundle(place)
    recipe = bundle.loaded.recipe
    inputs = find_inputs([file], recipe)
    if len(inputs) != 1:
        raise InputError(f"`{file}` holds {len(inputs)} clips; the page is of one")
    name, item = inputs[0]
    found = bundle.computed(item)
    streams = {stream: one.x_TD for stream, one in found.items()}
    return Page(
        clip=name,
        model=name_of(place),
        attended=attend(bundle.loaded, Row(name, streams, bundle.tokens(item))),
        rates_hz={stream: one.rate_hz for stream, one in found.items()},
        lengths={stream: len(x_TD) for stream, x_TD in streams.items()},
        scenes=_scenes(bundle, found),
        notes=[_ALONE] * bundle.reads_context
        + [_OWN] * (bundle.compares and item.is_own_reference),
    )


def _scenes(bundle: Bundle, found: dict[str, Any]) -> Sequence[Scene]:
    """Streams of a file whose points are known."""
    known = bundle.loaded.features["streams"].items()
    layouts = {name: StreamSchema.from_json(stream).layout for name, stream in known}
    return [
        scene_of(name, one.x_TD, layout, one.rate_hz)
        for name, one in found.items()
        if (layout := layouts[name]) is not None
    ]


def _bundle(place: Path) -> Bundle:
    """A bundle as it is; a run's model with the prompts that a bundle of it would have.

    Raises:
        InputError: a run whose features are gone, so its prompts are not known.
    """
    folder = model_folder(place)
    if (folder / MANIFEST).is_file():
        return Bundle.load(folder)
    loaded = read_model_folder(folder)
    try:
        prompts = common_prompts(store_of(place))
    except StoreError as error:
        raise InputError(
            f"`{place}` is no bundle, so its prompts are looked for in its features: {error}; or"
            f" export it first (`kinesweep export {place} BUNDLE`)"
        ) from None
    return Bundle(loaded, *(prompts[name] for name in PROMPTS))
