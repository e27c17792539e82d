"""`SamplerContract`: what every sampler of search spaces must do."""

from typing import Any

import optuna
import pytest

from kinesweep.sweeps.search.sampler_parts import build_sampler_part
from kinesweep.testing.parts import PartContract

Values = dict[str, Any]


class SamplerContract(PartContract):
    """Checks of a sampler.

    Attributes:
        config: Section `search` of a space.
    """

    def sample(self, seed: int, num_trials: int = 12) -> list[Values]:
        """Run a study of which trials succeed, fail and are pruned; return the drawn values."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(
            sampler=build_sampler_part(self.config, seed, num_trials), direction="maximize"
        )
        values = []
        for number in range(num_trials):
            trial = study.ask()
            values.append(
                {
                    "rate": trial.suggest_float("rate", 1e-5, 1e-2, log=True),
                    "layers": trial.suggest_int("layers", 1, 6),
                }
            )
            # Every longer sweep has a failed and a pruned trial, which have no value to learn from.
            if number == 3:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            elif number == 5:
                trial.report(0.1, 1)
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            else:
                study.tell(trial, values[-1]["rate"])
        return values

    def test_values_are_in_their_ranges(self) -> None:
        """Check that every value lies in the range of its parameter, also after a failure."""
        for values in self.sample(0):
            assert 1e-5 <= values["rate"] <= 1e-2
            assert values["layers"] in range(1, 7)

    @pytest.mark.parametrize("seed", [0, 7])
    def test_equal_seeds_give_equal_values(self, seed: int) -> None:
        """Check that a repeated search proposes the same configurations."""
        assert self.sample(seed) == self.sample(seed)

    def test_it_does_not_repeat_one_configuration(self) -> None:
        """Check that a search tries more than one configuration."""
        assert len({tuple(values.values()) for values in self.sample(0)}) > 1
