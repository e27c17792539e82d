"""Checks of a recipe's sections against each other; each raises a `ValueError` with the reason.

`Recipe` calls them once every section is valid by itself, so pydantic reports a failed check as a
problem of the whole file. The groups are: source and features, training. Those of
generated text are in `model.text_checks`.
"""

from collections.abc import Sequence

from kinesweep.config.recipe.augmentation import AugmentationConfig
from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.config.recipe.features.combined import CombinedFeaturesConfig, RecipeFeaturesConfig
from kinesweep.config.recipe.h5_shards import H5ShardsConfig
from kinesweep.config.recipe.model import ModelConfig
from kinesweep.config.recipe.model.vision_checks import check_vision_model
from kinesweep.config.recipe.resources import (
    CheckpointsConfig,
    PerformanceConfig,
    ResourcesConfig,
    check_performance,
)
from kinesweep.config.recipe.source import (
    ESTIMATOR_PLACEHOLDER,
    CorporaConfig,
    FeaturesConfig,
    SingleSourceConfig,
    SourceConfig,
)
from kinesweep.config.recipe.sources.estimated_points import check_estimated_points
from kinesweep.config.recipe.sources.feature_kinds import can_extract, get_features_kinds
from kinesweep.config.recipe.sources.part_sources import derive_part_source, find_part_corpora
from kinesweep.config.recipe.training import TrainingConfig

# Source and features.


def check_source_and_features(
    source: SourceConfig, features: RecipeFeaturesConfig, augmentation: AugmentationConfig
) -> None:
    """Check that the features can be extracted from the source, and augmented.

    Combined features are checked part by part, each as in a recipe that has no others.

    Raises:
        ValueError: If a check fails; the message names the part.
    """
    if isinstance(features, CombinedFeaturesConfig):
        for part in features.parts:
            try:
                part_source = derive_part_source(source, features, part)
                check_source_and_features(part_source, part.features, augmentation)
            except ValueError as error:
                raise ValueError(f"part `{part.name}`: {error}") from None
        _check_corpora_have_streams(source, features)
        return
    corpora = source.corpora if isinstance(source, CorporaConfig) else (source,)
    check_features_match_source(corpora, features)
    check_streams_match_source(corpora, features)
    check_estimator_folder(corpora, features)
    for corpus in corpora:
        check_estimated_points(corpus, features)
    check_crop_poses(corpora, features)
    check_spatial_augmentation(augmentation, features)


def _check_corpora_have_streams(source: SourceConfig, features: CombinedFeaturesConfig) -> None:
    """Check that each corpus of a list provides a selected stream, and one stream once.

    Raises:
        ValueError: If a corpus provides none of them, or two parts provide the same stream.
    """
    if not isinstance(source, CorporaConfig):
        return
    corpora = [(part.name, find_part_corpora(source, part) or ()) for part in features.parts]
    for corpus in source.corpora:
        provided = [name for name, names in corpora if corpus.name in names]
        if not set(provided) & set(features.streams):
            raise ValueError(
                f"corpus `{corpus.name}` provides none of the selected streams"
                f" ({', '.join(features.streams)}), so its clips have no input; it provides"
                f" {', '.join(provided) or 'no stream'}"
            )


def check_features_match_source(
    corpora: Sequence[SingleSourceConfig], features: FeaturesConfig
) -> None:
    """Check that features of this kind can be extracted from this kind of source.

    Raises:
        ValueError: If the source needs features of another kind.
    """
    kinds = {corpus.kind for corpus in corpora}
    if len(kinds) > 1 and len({get_features_kinds(corpus) for corpus in corpora}) > 1:
        raise ValueError(
            f"corpora must be of one kind, not {' and '.join(sorted(kinds))}, unless `features` is"
            " a list of parts"
        )
    source_kind = corpora[0].kind
    if not can_extract(corpora[0], features):
        possible_kinds = " or ".join(get_features_kinds(corpora[0]))
        raise ValueError(
            f"a source of kind {source_kind} needs `features.kind: {possible_kinds}`,"
            f" not {features.kind}"
        )
    named = getattr(features, "estimator", None)
    if named is not None and any(getattr(corpus, "estimator", None) for corpus in corpora):
        raise ValueError(
            f"`source.estimator` and `features.estimator` ({named}) both name an estimator; remove"
            " one of them"
        )
    tokenizer = getattr(features, "tokenizer", None)
    if getattr(tokenizer, "kind", None) == "fsw" and source_kind != "signwriting_tsv":
        raise ValueError(
            "`features.tokenizer: {kind: fsw}` splits SignWriting, which only a source of kind"
            f" signwriting_tsv contains, not {source_kind}"
        )


def check_stream_encoders(model: ModelConfig, features: RecipeFeaturesConfig) -> None:
    """Check that streams of frames have a vision model, and streams of token ids their encoder.

    Raises:
        ValueError: If one lacks the other.
    """
    check_vision_model(model, features)
    for part in getattr(features, "parts", None) or (features,):
        # Shards have several streams, but none of token ids.
        stream = str(getattr(part, "name", None) or getattr(part, "stream", ""))
        encoder = model.get_encoder_config(stream)
        path = f"model.encoders.{stream}" if stream in model.encoders else "model.encoder"
        if part.kind == "text" and encoder.kind != "tokens":
            raise ValueError(
                f"`features.kind` is text, but `{path}.kind` is {encoder.kind}; token ids need an"
                " encoder of kind tokens"
            )
        if part.kind not in ("text", "streams") and stream and encoder.kind == "tokens":
            raise ValueError(
                f"`{path}.kind` is tokens, which embeds token ids, but `{stream}` holds features of"
                f" kind {part.kind}; use another encoder"
            )


def check_streams_match_source(
    corpora: Sequence[SingleSourceConfig], features: FeaturesConfig
) -> None:
    """Check that each corpus of HDF5 shards has all selected streams.

    Raises:
        ValueError: If a corpus lacks a selected stream.
    """
    for corpus in corpora:
        if isinstance(corpus, H5ShardsConfig):
            corpus.check_streams(getattr(features, "streams", ()))


def check_estimator_folder(corpora: Sequence[SingleSourceConfig], features: FeaturesConfig) -> None:
    """Check that `features.estimator` is set exactly if `source.root` contains `{estimator}`.

    Without the placeholder, every estimator would read the same files.

    Raises:
        ValueError: If only one of them is set.
    """
    estimator = getattr(features, "estimator", None)
    for corpus in corpora:
        root = getattr(corpus, "root", None) or ""
        if (ESTIMATOR_PLACEHOLDER in root) != (estimator is not None):
            raise ValueError(
                f"`features.estimator` and `{ESTIMATOR_PLACEHOLDER}` in `source.root` belong"
                " together:"
                " the first names the estimator, the second its folder of poses; set both or"
                " neither"
            )


def check_crop_poses(corpora: Sequence[SingleSourceConfig], features: FeaturesConfig) -> None:
    """Check that `source.poses` is set exactly if crops of the features need poses.

    Raises:
        ValueError: If only one of them is set.
    """
    uses_poses = getattr(features, "uses_poses", False)
    for corpus in corpora:
        if (getattr(corpus, "poses", None) is not None) != uses_poses:
            raise ValueError(
                "`features.crops` or `features.crop`, and `source.poses` belong together: the first"
                " select body parts or the signer, the last the poses that locate them; set both or"
                " neither"
            )


def check_spatial_augmentation(augmentation: AugmentationConfig, features: FeaturesConfig) -> None:
    """Check that the features are centered if the augmentation mirrors or rotates clips.

    Kinds of features without a setting for centering are not checked. Frames can be mirrored, but
    neither rotated nor made noisy.

    Raises:
        ValueError: If clips are mirrored or rotated, but their features are not centered; or if
            frames or texts would have to be moved like points.
    """
    if features.kind in ("frames", "images") and (augmentation.rotation_deg or augmentation.noise):
        raise ValueError(
            "`batch.augmentation.rotation_deg` and `noise` move points, which `features.kind:"
            f" {features.kind}` does not have; set them to 0 (`mirror`, `speed` and `drop_frames`"
            " work on frames)"
        )
    if features.kind == "text" and augmentation.has_spatial_augmentation:
        raise ValueError(
            "`batch.augmentation.mirror`, `rotation_deg` and `noise` move points, which"
            " `features.kind: text` does not have; set them to 0 (`drop_frames` drops tokens)"
        )
    # Mirroring and rotation assume that the origin lies between the shoulders or at the root.
    # Other kinds of features have no such key; `kind`, which is never `none`, stands in for it.
    key = {"pose": "normalize", "skeleton": "centre"}.get(features.kind, "kind")
    if getattr(features, key) == "none" and augmentation.moves_about_origin:
        raise ValueError(
            "`batch.augmentation` mirrors or rotates clips around the shoulders or the root,"
            f" which requires normalization, but `features.{key}` is none"
        )
    if getattr(features, "has_corner_origin", False) and augmentation.moves_about_origin:
        raise ValueError(
            "`batch.augmentation.mirror` and `rotation_deg` need an origin in the body, which"
            f" `{getattr(features, 'points', '')}` lacks; set `features.normalize` to `shoulders`"
        )


# Training.


def check_best_metric(training: TrainingConfig, evaluation: EvaluationConfig) -> None:
    """Check that every evaluation computes the metric that selects the best checkpoint.

    Raises:
        ValueError: If evaluations during training do not compute the metric.
    """
    name = training.metric_for_best_model
    is_alignment = training.stage == "align"
    explain = training.explain_missing_alignment_metric if is_alignment else None
    problem = (explain or evaluation.explain_missing_metric)(name)
    if problem is not None:
        raise ValueError(f"`training.metric_for_best_model`: {problem}")


def check_computation(
    training: TrainingConfig,
    performance: PerformanceConfig,
    resources: ResourcesConfig,
    model: ModelConfig,
) -> None:
    """Check that attention and compilation fit precision and resources, and `training.fsdp`.

    Raises:
        ValueError: If a check fails.
    """
    check_performance(performance, resources, training.precision, training.fsdp)
    check_sharded_training(training, resources, model)


def check_sharded_training(
    training: TrainingConfig, resources: ResourcesConfig, model: ModelConfig
) -> None:
    """Check that training with `training.fsdp` has several workers and no quantized weights.

    Raises:
        ValueError: If there is only one worker, or if the backbone is quantized.
    """
    if not training.fsdp:
        return
    if resources.workers < 2:
        raise ValueError("`training.fsdp` needs `resources.workers` of 2 or more")
    if training.auto_find_batch_size:  # workers with unequal numbers of parts would wait forever
        raise ValueError("`training.fsdp` and `training.auto_find_batch_size` exclude each other")
    lora = model.backbone.lora
    if lora is not None and lora.quantize != "none":
        raise ValueError(
            "`training.fsdp` cannot shard quantized weights; turn off either `training.fsdp` or"
            " `lora.quantize`"
        )


def check_averaged_checkpoints(training: TrainingConfig, checkpoints: CheckpointsConfig) -> None:
    """Check that the checkpoints whose weights are averaged are kept until then.

    Raises:
        ValueError: If several checkpoints are averaged, but only the best one is kept.
    """
    # With `keep: best`, earlier checkpoints are deleted before the average is computed.
    if training.average_checkpoints > 1 and checkpoints.keep == "best":
        raise ValueError(
            "`training.average_checkpoints` also needs the checkpoints before the best one;"
            " set `checkpoints.keep` to best+last, last or all"
        )
    # The average would be of other steps, and so would the result.
    if training.average_checkpoints > 1 and checkpoints.every > 1:
        raise ValueError(
            "`training.average_checkpoints` averages consecutive evaluations;"
            " set `checkpoints.every` to 1"
        )
