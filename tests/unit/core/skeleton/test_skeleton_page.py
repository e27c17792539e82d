"""docs/skeletons.md lists every named skeleton, and its example is a skeleton."""

import re
from pathlib import Path

import yaml

from kinesweep.config.recipe.skeletons import SkeletonsConfig
from kinesweep.core.skeleton.skeleton import SKELETONS
from kinesweep.sources.skeletons.array_meaning import ArrayMeaning

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "skeletons.md").read_text()


def test_the_page_lists_every_name_with_its_points() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", PAGE, re.MULTILINE)
    assert [(name, int(count)) for name, count in rows] == [
        (name, skeleton.num_points) for name, skeleton in SKELETONS.items()
    ]


def test_the_example_of_the_page_is_valid() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    config = SkeletonsConfig.model_validate(yaml.safe_load(example)["source"])
    skeleton = ArrayMeaning.from_config(config).skeleton
    assert (skeleton.name, len(skeleton.bones)) == ("kinect_8", 5)
    assert skeleton.mirror == (0, 1, 4, 5, 2, 3)
