"""Models: one encoder per stream, a fusion module and a Hugging Face backbone that generates text.

Importing this package registers model type `kinesweep` with Hugging Face's `AutoConfig` and
`AutoModel`, so a saved model can be loaded from its folder alone.
"""

from transformers import AutoConfig, AutoModel

from kinesweep.models.config import KinesweepConfig
from kinesweep.models.factory import build_translator, check_backbone_config
from kinesweep.models.training_loss import TranslatorOutput
from kinesweep.models.translator import Translator

__all__ = [
    "KinesweepConfig",
    "Translator",
    "TranslatorOutput",
    "build_translator",
    "check_backbone_config",
]

AutoConfig.register(KinesweepConfig.model_type, KinesweepConfig, exist_ok=True)
AutoModel.register(KinesweepConfig, Translator, exist_ok=True)
