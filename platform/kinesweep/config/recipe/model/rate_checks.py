"""Checks of `training.learning_rates` against the parts that the model trains."""

from kinesweep.config.recipe.model import ModelConfig
from kinesweep.config.recipe.model.backbone import is_causal
from kinesweep.config.recipe.training import RatedPart, TrainingConfig

_KEY = "`training.learning_rates`"


def check_learning_rates(training: TrainingConfig, model: ModelConfig) -> None:
    """Check that every part with a learning rate of its own is trained.

    Raises:
        ValueError: If a part is frozen, or the backbone does not have it.
    """
    for part in training.learning_rates:
        reason = _explain_untrained_part(part, training, model)
        if reason:
            raise ValueError(f"{_KEY} has `{part}`, but {reason}; leave it out")


def _explain_untrained_part(part: RatedPart, training: TrainingConfig, model: ModelConfig) -> str:
    """Return why training does not change a part; an empty text if it does."""
    if training.stage == "projectors" and part != "encoder":
        return "the stage `projectors` trains the encoders only"
    # `backbone` in `freeze` covers all parts but the encoders of streams.
    if part in model.freeze or (part != "encoder" and "backbone" in model.freeze):
        return "`model.freeze` keeps its weights as they are"
    if is_causal(model.backbone) and part in ("backbone_encoder", "backbone_decoder"):
        return "a causal backbone has no encoder and decoder"
    # Only the restoration runs the decoder in the stage `align`; causal backbones never have one.
    is_decoded = training.stage != "align" or training.effective_alignment.restoration is not None
    if not is_decoded and part in ("backbone_decoder", "lm_head"):
        return "without `training.alignment.restoration` nothing is decoded in this stage"
    # Adapters are trained beside linear layers, which embeddings and the head are not.
    if model.backbone.lora is not None and part in ("embeddings", "lm_head"):
        return "with `model.backbone.lora` only the adapters of the linear layers are trained"
    return ""
