"""Attention pages: an HTML page that shows what a model attends to in a clip.

The clip is either a raw file, processed as by `kinesweep translate`, or a clip of a feature store.
The page carries a note if its input differs from what the model was trained on.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from kinesweep.checkpoints.model_dir import LoadedModel, read_model_folder
from kinesweep.core.errors import InputError, StoreError
from kinesweep.core.schema import StreamSchema
from kinesweep.core.system.devices import AUTO_DEVICE
from kinesweep.data.absent_streams import fill_absent_streams
from kinesweep.data.collate import BatchItem
from kinesweep.evaluation.attention_inference import (
    TranslationWithAttention,
    build_item,
    translate_with_attention,
)
from kinesweep.export import Bundle, find_inputs
from kinesweep.export.bundle import PROMPT_FIELDS, find_common_prompts
from kinesweep.export.bundle_manifest import MANIFEST
from kinesweep.pipelines.extraction import find_training_store, open_store_from_path
from kinesweep.pipelines.inputs import resolve_model_dir
from kinesweep.report.attention import AttentionPage, write_attention_html
from kinesweep.report.pose_scene import PoseScene, build_scene, load_clip_scenes
from kinesweep.store import Store
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.inspect.clip_lookup import find_clip_record
from kinesweep.training.reproducibility.inference_device import prepare_inference

logger = logging.getLogger(__name__)

_NO_CONTEXT_NOTE = (
    "The model normally reads the sentences that precede a clip; here the clip is a single file"
    " without context."
)
_OTHER_FEATURES_NOTE = (
    "These are not the features that the model was trained on, so its text may differ from the one"
    " for its own features."
)
_SELF_COMPARISON_NOTE = (
    "The model compares a motion with a reference; here the motion is compared with itself."
)
_REFERENCE_CONTEXT_NOTE = (
    "The model normally reads its own earlier sentences as context; here it read the reference"
    " sentences, as in training."
)


def write_attention_page(
    model_dir: Path, clip: str, out: Path, store_path: Path | None, device: str = AUTO_DEVICE
) -> dict[str, Any]:
    """Translate a clip and write its attention page.

    Logs the text, the shares of attention and the path of the page, and a note if the clip has
    other features than those that the model was trained on.

    Args:
        model_dir: Folder of a bundle, a run, or the `best` folder of a run.
        clip: Path of a file that `translate` accepts; with `store_path`, the id of a clip.
        out: Path of the page.
        store_path: Feature store, or recipe whose store is used. None: `clip` is a file.
        device: Name of the device of the model: `auto`, `cpu`, `cuda` or `cuda:N`.

    Returns:
        The page's path, the text, and the shares of attention (see `compute_attention_shares`).

    Raises:
        BundleError: If the bundle is damaged, or if the file does not fit the model.
        CheckpointError: If there is no model in the folder.
        ClipError: If the file cannot be used.
        InputError: If `clip` is not exactly one clip, or if the model does not expose attention.
        StoreError: If there is no such store or if it is damaged.
    """
    page = (
        _build_page_from_file(model_dir, Path(clip), device)
        if store_path is None
        else _build_page_from_store(model_dir, clip, store_path, device)
    )
    write_attention_html(out, page)
    shares = compute_attention_shares(page.translation)
    logger.info(f"{clip}\t{page.translation.text}")
    logger.info("attention " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items()))
    logger.info(f"page    {out}")
    return {"page": str(out), "text": page.translation.text, "shares": shares}


def build_attention_page(
    loaded: LoadedModel, store: Store, record: ClipRecord, model_name: str
) -> AttentionPage:
    """Build the attention page of a clip of a store.

    Args:
        loaded: Model with its recipe.
        store: Store that holds the clip.
        record: Record of the clip.
        model_name: Display name of the model.

    Raises:
        InputError: If the clip does not fit the model, or if the model does not expose attention.
    """
    layout_streams = [
        name
        for name, stream in store.schema.streams.items()
        if stream.layout is not None and name in record.lengths
    ]
    context = loaded.recipe.context
    # A single clip has no earlier hypotheses, so `build_item` uses the references as context.
    replaces_context = context.is_enabled and context.decoding_context == "model"
    return AttentionPage(
        clip=record.clip.id,
        model=model_name,
        translation=translate_with_attention(loaded, build_item(loaded, store, record)),
        rates_hz=record.rates_hz,
        lengths=record.lengths,
        scenes=load_clip_scenes(store, record) if layout_streams else [],
        references=record.clip.texts,
        notes=[_REFERENCE_CONTEXT_NOTE] if replaces_context else [],
    )


def compute_attention_shares(attended: TranslationWithAttention) -> dict[str, float]:
    """Compute the share of attention on each part of the input.

    A share is the mean over layers, heads and generated tokens.

    Returns:
        Name of a stream, or kind of another part (`prompt`, `separator`, …) → share from 0 to 1;
        the shares sum to 1 except for rounding.
    """
    shares: dict[str, float] = {}
    weights_AHLM = attended.attention.weights_AHLM
    for span in attended.attention.spans:
        # Kinds that the input lacks (no prompt, no separators) have empty ranges and no entry.
        if span.end > span.first:
            name = span.stream if span.kind == "stream" else span.kind
            share = weights_AHLM[..., span.first : span.end].sum(-1).mean()
            shares[name] = shares.get(name, 0.0) + round(float(share), 6)
    return shares


def get_model_display_name(model_dir: Path) -> str:
    """Return the display name of a model, the name of its bundle or run folder.

    Pages are passed on to other people, so they must not contain local paths.
    """
    folder = model_dir.resolve()
    return folder.parent.name if folder.name == "best" else folder.name


def _build_page_from_store(
    model_dir: Path, clip: str, store_path: Path, device: str
) -> AttentionPage:
    """Build the attention page of a clip of a store.

    The page gets a note, which is also logged, if the model was trained on other features.

    Args:
        model_dir: Folder of a bundle, a run, or the `best` folder of a run.
        clip: Id of the clip.
        store_path: Feature store, or recipe whose store is used.
        device: Name of the device of the model.

    Raises:
        CheckpointError: If there is no model in the folder.
        InputError: If there is no such clip, or if the model does not expose attention.
        StoreError: If there is no such store or if it is damaged.
    """
    store, _ = open_store_from_path(store_path)
    record = find_clip_record(store, clip)
    loaded = read_model_folder(resolve_model_dir(model_dir), prepare_inference(device))
    page = build_attention_page(loaded, store, record, get_model_display_name(model_dir))
    # An empty fingerprint belongs to a model imported from another system, which had no store.
    if loaded.features["store_fingerprint"] in {"", store.fingerprint}:
        return page
    logger.info(f"`{store_path}`: {_OTHER_FEATURES_NOTE}")
    return replace(page, notes=[*page.notes, _OTHER_FEATURES_NOTE])


def _build_page_from_file(model_dir: Path, file: Path, device: str) -> AttentionPage:
    """Build the attention page of a raw file.

    Args:
        model_dir: Folder of a bundle, a run, or the `best` folder of a run.
        file: File that `translate` accepts.
        device: Name of the device of the model.

    Raises:
        BundleError: If the bundle is damaged, or if the file does not fit the model.
        CheckpointError: If there is no model in the folder.
        ClipError: If the file cannot be used.
        InputError: If the file does not hold exactly one clip, if the features that a run was
            trained on are missing, or if the model does not expose attention.
    """
    bundle = _load_bundle(model_dir, prepare_inference(device))
    recipe = bundle.loaded.recipe
    inputs = find_inputs([file], recipe.corpora[0], parts=bundle.parts)
    if len(inputs) != 1:
        raise InputError(f"`{file}` holds {len(inputs)} clips; an attention page shows one clip")
    clip_name, model_input = inputs[0]
    features = bundle.compute_input_features(model_input)
    streams = {stream: feature.x_TD for stream, feature in features.items()}
    return AttentionPage(
        clip=clip_name,
        model=get_model_display_name(model_dir),
        translation=translate_with_attention(
            bundle.loaded,
            BatchItem(
                clip_name,
                fill_absent_streams(streams, bundle.stream_schemas),
                bundle.build_prompt_tokens(model_input),
            ),
        ),
        rates_hz={stream: feature.rate_hz for stream, feature in features.items()},
        lengths={stream: len(x_TD) for stream, x_TD in streams.items()},
        scenes=_build_scenes(bundle, features),
        notes=[_NO_CONTEXT_NOTE] * bundle.uses_context
        + [_SELF_COMPARISON_NOTE]
        * (bundle.uses_reference_motion and model_input.is_compared_with_itself),
    )


def _build_scenes(bundle: Bundle, features: dict[str, Any]) -> Sequence[PoseScene]:
    """Build the scenes of those streams of a clip whose layout of points is known.

    Args:
        bundle: Bundle with the schemas of the streams.
        features: Stream → features of the clip.
    """
    schemas_json = bundle.loaded.features["streams"].items()
    schemas = {name: StreamSchema.from_json(schema) for name, schema in schemas_json}
    return [
        build_scene(name, feature.x_TD, layout, feature.rate_hz, schemas[name].has_mask)
        for name, feature in features.items()
        if (layout := schemas[name].layout) is not None
    ]


def _load_bundle(model_dir: Path, device: torch.device) -> Bundle:
    """Load a bundle, or build one in memory from a run's model and the prompts of its features.

    Raises:
        BundleError: If the bundle is damaged.
        CheckpointError: If there is no model in the folder.
        InputError: If `model_dir` is a run whose features, and so its prompts, are missing.
    """
    folder = resolve_model_dir(model_dir)
    if (folder / MANIFEST).is_file():
        return Bundle.load(folder, device)
    loaded = read_model_folder(folder, device)
    try:
        prompts = find_common_prompts(find_training_store(model_dir))
    except StoreError as error:
        raise InputError(
            f"`{model_dir}` is not a bundle, so its prompts must be read from its features, which"
            f" failed: {error}; or export it first (`kinesweep export {model_dir} BUNDLE`)"
        ) from None
    encoder_prompt, decoder_prompt = (prompts[name] for name in PROMPT_FIELDS)
    return Bundle(loaded, encoder_prompt, decoder_prompt)
