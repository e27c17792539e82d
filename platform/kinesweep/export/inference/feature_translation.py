"""Translation of clips whose features are known: truncation, batches by length, decoding."""

from collections.abc import Mapping, Sequence

from kinesweep.checkpoints.model_dir import LoadedModel
from kinesweep.config.recipe.data import BatchConfig, EffectiveBatchConfig
from kinesweep.core.schema import StreamSchema
from kinesweep.data.absent_streams import fill_absent_streams
from kinesweep.data.bucketing import split_into_batches
from kinesweep.data.collate import BatchItem, ClipTokens, collate
from kinesweep.data.evaluation import FixedBatches
from kinesweep.data.length_limits import truncate_streams
from kinesweep.evaluation.decoding import decode_batches
from kinesweep.export.input_translation import StreamFeatures


def limit_features(
    streams: StreamFeatures, batch: EffectiveBatchConfig, schemas: Mapping[str, StreamSchema]
) -> StreamFeatures:
    """Return the features of a clip as the model reads them, (T, D), with all streams.

    They are truncated as in training, so that the model sees clips of the length that it knows.

    Args:
        streams: Stream → features of the clip.
        batch: The recipe's `batch` section, as a run uses it.
        schemas: Stream → schema in the training data.
    """
    return fill_absent_streams(truncate_streams(streams, batch), schemas)


def translate_feature_arrays(
    loaded: LoadedModel,
    schemas: Mapping[str, StreamSchema],
    features: Sequence[StreamFeatures],
    tokens: Sequence[ClipTokens],
    names: Sequence[str],
) -> list[str]:
    """Translate clips whose features are known, and return their texts in the same order.

    Args:
        loaded: Model with its tokenizer and recipe.
        schemas: Stream → schema in the training data.
        features: Features of each clip, (T, D) by feature stream.
        tokens: Prompt tokens of each clip.
        names: Name of each clip in the draws of sampling.
    """
    recipe, tokenizer = loaded.recipe, loaded.tokenizer
    features = [limit_features(streams, recipe.effective_batch, schemas) for streams in features]
    lengths = [max(len(x_TD) for x_TD in streams.values()) for streams in features]
    # Clips of similar length share a batch; the indices serve as IDs to restore the order.
    indices_by_length = sorted(range(len(features)), key=lambda index: lengths[index])
    batch_config = BatchConfig(max_frames=recipe.evaluation.max_frames)
    zero_features = recipe.batch.ablation == "zeros"
    batches = [
        collate(
            [BatchItem(str(index), features[index], tokens[index]) for index in clip_indices],
            tokenizer.vocabulary.pad_id,
            zero_features,
        )
        for clip_indices in split_into_batches(indices_by_length, lengths, batch_config)
    ]
    generation = recipe.generation
    texts_by_id = decode_batches(
        loaded.model,
        tokenizer,
        FixedBatches(batches),
        generation.num_beams,
        generation,
        sampling_keys={str(index): name for index, name in enumerate(names)},
    )
    return [texts_by_id[str(index)] for index in range(len(features))]
