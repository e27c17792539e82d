"""Selection of the objective that a run trains, from its `training` section."""

from kinesweep.config.parts import LossPart
from kinesweep.config.recipe.training import TrainingConfig
from kinesweep.models.objectives.alignment import AlignmentObjective
from kinesweep.models.objectives.translation import TranslationObjective
from kinesweep.models.translator import Translator


def attach_objective(model: Translator, training: TrainingConfig) -> None:
    """Attach the objective of a run to its model; without one, the model computes its own loss.

    Args:
        model: Translator, whose weights are unchanged. New weights of an objective are drawn from
            torch's generator.
        training: Section `training` of the recipe.

    Raises:
        ConfigError: If the settings of the objective do not fit the width of the backbone.
        InputError: If a loss of another package cannot be imported.
    """
    if training.stage == "align":
        # Of the embeddings, which all backbones have; names in their configurations differ.
        width = model.backbone.get_input_embeddings().embedding_dim
        model.objective = AlignmentObjective(training, width)
        return
    loss = training.loss if isinstance(training.loss, LossPart) else None
    if loss is not None or training.sign_contrastive is not None:
        model.objective = TranslationObjective(
            training.sign_contrastive, loss, training.label_smoothing_factor
        )
