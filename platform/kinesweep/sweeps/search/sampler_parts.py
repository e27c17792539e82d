"""Samplers that other packages add by entry point."""

import optuna

from kinesweep.config.parts import SamplerPart, build_part


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
    sampler: optuna.samplers.BaseSampler = build_part(
        config,
        (config, seed, num_trials),
        optuna.samplers.BaseSampler,
        "optuna.samplers.BaseSampler",
    )
    return sampler
