"""Parameter groups of the optimizer: a learning rate of its own for the vision model.

Hugging Face's Trainer makes two groups, with and without weight decay. Each is split into the
parameters of the vision model and all others, so both parts keep their weight decay. The schedule
multiplies the learning rates of all groups by the same factor. The groups of the other parameters
stay first, because the Trainer logs the learning rate of the first group.
"""

from torch.optim import Optimizer

from kinesweep.models.translator import Translator


def split_vision_groups(optimizer: Optimizer, model: Translator) -> None:
    """Move the vision model's parameters to groups with its learning rate, in place.

    Does nothing without a vision model, if it has no learning rate of its own, or if the groups
    have been split before.

    Args:
        optimizer: New optimizer without a state.
        model: Translator whose parameters it holds.
    """
    vision = model.vision
    if vision is None or vision.config.learning_rate is None:
        return
    vision_ids = {id(parameter) for parameter in vision.parameters()}
    for group in list(optimizer.param_groups):
        moved = [parameter for parameter in group["params"] if id(parameter) in vision_ids]
        others = [parameter for parameter in group["params"] if id(parameter) not in vision_ids]
        # A group of the vision model alone only needs another rate.
        if moved and others:
            group["params"] = others
            optimizer.add_param_group({**group, "params": moved})
            group = optimizer.param_groups[-1]
        # A group with the schedule's `initial_lr` has been split before.
        if moved and "initial_lr" not in group:
            group["lr"] = vision.config.learning_rate
