"""Samplers that other packages add by entry point."""

import optuna

from kinesweep.config.parts import SamplerPart, list_used_parts
from kinesweep.core.errors import InputError


def build_sampler_part(
    config: SamplerPart, seed: int, num_trials: int
) -> optuna.samplers.BaseSampler:
    """Build the Optuna sampler of a package, called as `(config, seed, num_trials)`.

    It is built again from the journal whenever a sweep resumes, with another seed, so it must keep
    no state of its own beside the trials of its study.

    Args:
        config: Section `search` of the space.
        seed: Seed of the sampler.
        num_trials: Number of trials planned for the arm.

    Raises:
        InputError: If the package is not installed, or its class or function cannot be imported or
            does not return an Optuna sampler.
    """
    (part,) = list_used_parts(config)
    build = config.import_implementation()
    try:
        sampler = build(config, seed, num_trials)
    # Code of another package, which may fail in any way.
    except Exception as error:
        raise InputError(f"{part} cannot be built: {type(error).__name__}: {error}") from error
    if not isinstance(sampler, optuna.samplers.BaseSampler):
        raise InputError(
            f"{part}: `{config.implementation}` must return an Optuna sampler, not"
            f" {type(sampler).__name__}"
        )
    return sampler
