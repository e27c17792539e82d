"""`PartContract`: what every part of another package must do, whatever its group."""

import json
import pickle
from typing import Any

from kinesweep.config.parts import PartConfig, find_installed_part, load_part_config
from kinesweep.config.parts.inspection import find_part_problem


class PartContract:
    """Checks of a configuration; the suites of the groups inherit them.

    Attributes:
        config: Configuration of the part under test.
    """

    config: Any

    def test_the_entry_point_names_the_configuration(self) -> None:
        """Check that the installed package declares the part, and that it can be used."""
        if not isinstance(getattr(self, "config", None), PartConfig):
            return
        group, kind = self.config.group, self.config.kind
        part = find_installed_part(group, kind)
        assert part is not None, (
            f"no installed package has the entry point `{kind}` in `{group}`; run"
            " `pip install -e .`"
        )
        assert load_part_config(part) is type(self.config)
        assert find_part_problem(part) == ""

    def test_the_configuration_is_plain_values(self) -> None:
        """Check that the configuration survives JSON and pickle, as in recipes and on workers."""
        if not isinstance(getattr(self, "config", None), PartConfig):
            return
        values = json.loads(json.dumps(self.config.model_dump(mode="json")))
        assert type(self.config).model_validate(values) == self.config
        assert pickle.loads(pickle.dumps(self.config)) == self.config
