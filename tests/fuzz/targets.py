"""All readers that are fuzzed; those of estimators' outputs, recipes and bundles are here."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fuzz.prepare_targets import PREPARE_TARGETS
from fuzz.source_targets import SOURCE_TARGETS
from fuzz.target import Target
from kinesweep.config.loading import load_config
from kinesweep.config.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]


def make_outputs(tool: str) -> Callable[[Path], None]:
    rng = np.random.default_rng(0)

    def flat(count: int) -> list[float]:
        return [round(float(x), 1) for x in rng.uniform(0, 99, 3 * count)]

    def openpose(number: int) -> dict[str, Any]:
        parts = {"pose": 25, "face": 70, "hand_left": 21, "hand_right": 21}
        person = {f"{part}_keypoints_2d": flat(count) for part, count in parts.items()}
        return {"version": 1.3, "people": [{"person_id": [-1], **person}]}

    def make(folder: Path) -> None:
        inputs = folder / "in"
        inputs.mkdir()
        if tool == "openpose":
            (inputs / "a").mkdir()
            for n in range(2):
                name = f"a/a_{n:012d}_keypoints.json"
                (inputs / name).write_text(json.dumps(openpose(n)))
        elif tool == "alphapose":
            people = [
                {"image_id": f"{n}.jpg", "category_id": 1, "keypoints": flat(136), "score": 2.5}
                for n in range(2)
            ]
            (inputs / "a.json").write_text(json.dumps(people))
        elif tool == "openpifpaf":
            lines = [
                json.dumps({"frame": n, "predictions": [{"keypoints": flat(133), "score": 0.5}]})
                for n in (1, 2)
            ]
            (inputs / "a.json").write_text("\n".join(lines))
        else:
            points = np.array(flat(133)).reshape(133, 3)
            person = {"keypoints": points[:, :2].tolist(), "keypoint_scores": points[:, 0].tolist()}
            frames = [{"frame_id": n, "instances": [person]} for n in (1, 2)]
            (inputs / "a.json").write_text(json.dumps({"instance_info": frames}))

    return make


def import_outputs(tool: str) -> Callable[[Path], object]:
    from kinesweep.pipelines.pose_import import import_external_poses

    return lambda folder: (
        import_external_poses(tool, folder / "in", folder / "out", "640x480@25", True).failed
    )


def make_recipe(folder: Path) -> None:
    shutil.copytree(ROOT / "jobs/recipes", folder / "jobs/recipes")
    shutil.copytree(ROOT / "search_spaces", folder / "search_spaces")


def read_recipe(folder: Path) -> None:
    load_config(Recipe, folder / "jobs/recipes/sample.yaml")


def read_space(folder: Path) -> None:
    from kinesweep.sweeps.space.loading import load_space

    load_space(folder / "search_spaces/sample.yaml", [], folder)


def make_bundle(folder: Path) -> None:
    """A bundle of one training step."""
    from corpus import tiny_corpus, tiny_recipe, tiny_store
    from kinesweep.core.run_logger import NullRunLogger
    from kinesweep.export import export_bundle
    from kinesweep.training.loop.run import RunSpec, train_run

    steps = {"max_steps": 1, "eval_steps": 1}
    work = folder.parent / "work"
    work.mkdir()
    recipe = tiny_recipe(tiny_corpus(work, 12), work / "stores", training=steps)
    store = tiny_store(recipe)
    train_run(RunSpec(recipe, store.folder, work / "run"), NullRunLogger(), lambda _: True)
    export_bundle(work / "run", folder / "bundle", store)
    shutil.rmtree(work)


def read_bundle(folder: Path) -> None:
    """Loads the bundle as if its maker had written the changed file."""
    from kinesweep.export import Bundle
    from kinesweep.export.bundle_manifest import write_bundle_manifest

    (folder / "bundle/manifest.json").unlink()
    write_bundle_manifest(folder / "bundle")
    Bundle.load(folder / "bundle", "cpu")


def read_damaged_bundle(folder: Path) -> None:
    from kinesweep.export.bundle import read_bundle_recipe

    read_bundle_recipe(folder / "bundle")


TOOLS = ("openpose", "alphapose", "mmpose", "openpifpaf")
BUNDLE_FILES = ("bundle/*.json", "bundle/*.yaml")
TARGETS: tuple[Target, ...] = (
    *SOURCE_TARGETS,
    *PREPARE_TARGETS,
    *(Target(tool, make_outputs(tool), ("in/**/*.json",), import_outputs(tool)) for tool in TOOLS),
    Target("recipe", make_recipe, ("jobs/recipes/sample.yaml",), read_recipe, names_paths=True),
    Target("space", make_recipe, ("search_spaces/sample.yaml",), read_space, names_paths=True),
    Target("bundle", make_bundle, BUNDLE_FILES, read_bundle, is_slow=True),
    Target("damaged bundle", make_bundle, BUNDLE_FILES, read_damaged_bundle, is_slow=True),
)
