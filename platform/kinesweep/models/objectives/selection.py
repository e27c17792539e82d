"""Selection of the objective that a run trains, from its `training` section."""

from kinesweep.config.recipe.training import TrainingConfig
from kinesweep.models.objectives.alignment import AlignmentObjective
from kinesweep.models.objectives.translation import SignContrastiveTranslation
from kinesweep.models.translator import Translator


def attach_objective(model: Translator, training: TrainingConfig) -> None:
    """Attach the objective of a run to its model; without one, the model computes its own loss.

    Args:
        model: Translator, whose weights are unchanged. New weights of an objective are drawn from
            torch's generator.
        training: Section `training` of the recipe.

    Raises:
        ConfigError: If the settings of the objective do not fit the width of the backbone.
    """
    if training.stage == "align":
        # Of the embeddings, which all backbones have; names in their configurations differ.
        width = model.backbone.get_input_embeddings().embedding_dim
        model.objective = AlignmentObjective(training, width)
    elif training.sign_contrastive is not None:
        model.objective = SignContrastiveTranslation(training.sign_contrastive)
