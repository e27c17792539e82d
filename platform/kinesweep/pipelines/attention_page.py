"""Attention pages: an HTML page that shows what a model attends to in a clip.

The clip is either a raw file, processed as by `kinesweep translate`, or a clip of a feature store.
The page carries a note if its input differs from what the model was trained on.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kinesweep.checkpoints.model_dir import ModelFolder, read_model_folder
from kinesweep.core.errors import InputError, StoreError
from kinesweep.core.schema import StreamSchema
from kinesweep.data.collate import Item
from kinesweep.evaluation.attention_inference import Attended, attend, row_of
from kinesweep.export import Bundle, find_inputs
from kinesweep.export.bundle import MANIFEST, PROMPTS, common_prompts
from kinesweep.pipelines.extraction import find_training_store, open_store_or_recipe
from kinesweep.pipelines.inputs import model_folder
from kinesweep.report.attention import Page, write_attention
from kinesweep.report.pose_scene import Scene, scene_of, scenes_of
from kinesweep.store import Store
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.inspect.show import find_clip

logger = logging.getLogger(__name__)

_ALONE = (
    "The model normally reads the sentences that precede a clip; here the clip is a single file"
    " without context."
)
_OTHERS = (
    "These are not the features that the model was trained on, so its text may differ from the one"
    " for its own features."
)
_OWN = "The model compares a motion with a reference; here the motion is compared with itself."
_TRUE = (
    "The model normally reads its own earlier sentences as context; here it read the reference"
    " sentences, as in training."
)


def write_attention_page(place: Path, clip: str, out: Path, store: Path | None) -> dict[str, Any]:
    """Translate a clip, write its attention page and print the text.

    Args:
        place: Folder of a bundle, a run, or the `best` folder of a run.
        clip: Path of a file that `translate` accepts; with `store`, the id of a clip.
        out: Path of the page.
        store: Feature store, or recipe whose store is used. None: `clip` is a file.

    Returns:
        The page's path, the text, and the shares of attention (see `attention_shares`).

    Raises:
        InputError: If `clip` is not exactly one clip, or if the model does not expose attention.
    """
    page = _of_file(place, Path(clip)) if store is None else _of_store(place, clip, store)
    write_attention(out, page)
    shares = attention_shares(page.attended)
    logger.info(f"{clip}\t{page.attended.text}")
    logger.info("attention " + ", ".join(f"{what} {share:.1%}" for what, share in shares.items()))
    logger.info(f"page    {out}")
    return {"page": str(out), "text": page.attended.text, "shares": shares}


def page_of_record(loaded: ModelFolder, store: Store, record: ClipRecord, model: str) -> Page:
    """Return the page of a clip of a store.

    Args:
        loaded: Model with its recipe.
        store: Store that holds the clip.
        record: Record of the clip.
        model: Display name of the model.

    Raises:
        InputError: If `attend` or `row_of` rejects the clip or the model.
    """
    known = [name for name, stream in store.schema.streams.items() if stream.layout is not None]
    context = loaded.recipe.context
    # A single clip has no earlier hypotheses, so `row_of` uses the references as context.
    own = context.is_used and context.decoding_context == "model"
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


def attention_shares(attended: Attended) -> dict[str, float]:
    """Return the share of attention for each kind of input, the mean over layers, heads and tokens.

    Returns:
        Name of a stream, or kind of input (`prompt`, `separator`, …) → share; they sum to 1.
    """
    found: dict[str, float] = {}
    weights_AHLM = attended.attention.weights_AHLM
    for places in attended.attention.places:
        # Kinds that the input lacks (no prompt, no separators) have empty ranges and no entry.
        if places.end > places.first:
            name = places.stream if places.kind == "stream" else places.kind
            part = weights_AHLM[..., places.first : places.end].sum(-1).mean()
            found[name] = found.get(name, 0.0) + round(float(part), 6)
    return found


def model_display_name(place: Path) -> str:
    """Return the display name of a model: the name of its bundle or run folder.

    Pages are passed on to other people, so they must not contain local paths.
    """
    folder = place.resolve()
    return folder.parent.name if folder.name == "best" else folder.name


def _of_store(place: Path, clip: str, store: Path) -> Page:
    """Return the page of a clip of a store; add a note if the model has other features."""
    opened, _ = open_store_or_recipe(store)
    record = find_clip(opened, clip)
    loaded = read_model_folder(model_folder(place))
    page = page_of_record(loaded, opened, record, model_display_name(place))
    # An empty fingerprint belongs to a model imported from another system, which had no store.
    if loaded.features["store_fingerprint"] in {"", opened.fingerprint}:
        return page
    logger.info(f"`{store}`: {_OTHERS}")
    return replace(page, notes=[*page.notes, _OTHERS])


def _of_file(place: Path, file: Path) -> Page:
    """Return the page of a raw file.

    Raises:
        InputError: If the file does not hold exactly one clip.
    """
    bundle = _bundle(place)
    recipe = bundle.loaded.recipe
    inputs = find_inputs([file], recipe)
    if len(inputs) != 1:
        raise InputError(f"`{file}` holds {len(inputs)} clips; an attention page shows one clip")
    name, item = inputs[0]
    found = bundle.computed(item)
    streams = {stream: one.x_TD for stream, one in found.items()}
    return Page(
        clip=name,
        model=model_display_name(place),
        attended=attend(bundle.loaded, Item(name, streams, bundle.tokens(item))),
        rates_hz={stream: one.rate_hz for stream, one in found.items()},
        lengths={stream: len(x_TD) for stream, x_TD in streams.items()},
        scenes=_scenes(bundle, found),
        notes=[_ALONE] * bundle.reads_context
        + [_OWN] * (bundle.compares and item.is_own_reference),
    )


def _scenes(bundle: Bundle, found: dict[str, Any]) -> Sequence[Scene]:
    """Return scenes of those streams whose layout of points is known."""
    known = bundle.loaded.features["streams"].items()
    layouts = {name: StreamSchema.from_json(stream).layout for name, stream in known}
    return [
        scene_of(name, one.x_TD, layout, one.rate_hz)
        for name, one in found.items()
        if (layout := layouts[name]) is not None
    ]


def _bundle(place: Path) -> Bundle:
    """Return a bundle, or a run's model with the prompts that its bundle would have.

    Raises:
        InputError: If `place` is a run whose features are missing, so that its prompts are unknown.
    """
    folder = model_folder(place)
    if (folder / MANIFEST).is_file():
        return Bundle.load(folder)
    loaded = read_model_folder(folder)
    try:
        prompts = common_prompts(find_training_store(place))
    except StoreError as error:
        raise InputError(
            f"`{place}` is not a bundle, so its prompts must be read from its features, which"
            f" failed: {error}; or export it first (`kinesweep export {place} BUNDLE`)"
        ) from None
    return Bundle(loaded, *(prompts[name] for name in PROMPTS))
