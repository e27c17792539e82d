"""Compatibility of the vision model of a translator with that of an earlier training stage.

Each difference is described by a text that continues the sentence "`model.init_from` is `FOLDER`,
but …", in which "it" is the earlier stage.
"""

from kinesweep.core.hashing import to_canonical_json
from kinesweep.models.config import KinesweepConfig

# Settings of the vision model that change the meaning of its weights or the number of vectors.
_COMPARED_VISION_SETTINGS = ("kind", "pool", "windows")
_COMPARED_VISION_KEYS = ("config", "geometry", "normalization", "size", "streams")


def compare_vision_models(
    model_config: KinesweepConfig, initial_config: KinesweepConfig
) -> list[str]:
    """Compare the vision models: network, normalization, pooling and windows.

    Where the weights came from, whether they are trained and how is not compared, because the
    earlier stage provides them.

    Args:
        model_config: Config of the model.
        initial_config: Config of the earlier stage.

    Returns:
        Descriptions of the differences; empty if there are none.
    """
    sections = [config.get_model_config().vision for config in (initial_config, model_config)]
    entries = [config.vision or {} for config in (initial_config, model_config)]
    if sections[0] is None or sections[1] is None:
        descriptions = ["none" if section is None else section.kind for section in sections]
        same = descriptions[0] == descriptions[1]
        return [] if same else [f"its `model.vision` is {descriptions[0]}, not {descriptions[1]}"]
    differences = [
        f"its `model.vision.{key}` is {getattr(sections[0], key, None)},"
        f" not {getattr(sections[1], key, None)}"
        for key in _COMPARED_VISION_SETTINGS
        if getattr(sections[0], key, None) != getattr(sections[1], key, None)
    ]
    # Plain values from JSON have lists where a new model has tuples.
    networks = [to_canonical_json({k: e.get(k) for k in _COMPARED_VISION_KEYS}) for e in entries]
    if networks[0] != networks[1] and not differences:
        differences.append("its vision model has another configuration, size or normalization")
    return differences
