"""Packages with a part of one's own, written from templates by `kinesweep new`.

A package has one module, the entry point that Kinesweep finds it by, and a test that inherits the
conformance suite. It is usable as written: each template is a small real implementation with a
comment where to change it.
"""

import keyword
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from kinesweep.config.parts import PART_GROUPS
from kinesweep.core.errors import InputError
from kinesweep.core.io import write_folder, write_text
from kinesweep.scaffolding.our_kinds import list_our_kinds

_FILES = {"pyproject.toml": "pyproject.toml", "README.md": "README.md"}
# Far below the limit of file systems, because the name is part of longer ones.
_MAX_NAME_LENGTH = 64
# pip would run `setup.py` of the package, pytest import `conftest.py` before the test.
_BUILD_MODULES = frozenset({"setup", "conftest"})


@dataclass(frozen=True)
class Role:
    """A kind of part that a package can add.

    Attributes:
        noun: Noun for texts.
        contract: Conformance suite in `kinesweep.testing`.
        example: Lines of a recipe or space that select `{kind}`.
        test_arguments: Arguments of the configuration in the test.
    """

    noun: str
    contract: str
    example: str
    test_arguments: str = ""


ROLES = {
    "encoder": Role("encoder", "EncoderContract", "model:\n  encoder: {kind: {kind}}"),
    "source": Role(
        "source",
        "SourceContract",
        "source: {kind: {kind}, train: train.jsonl, validation: validation.jsonl}\n"
        "features: {kind: precomputed}",
    ),
    "metric": Role(
        "metric",
        "MetricContract",
        "evaluation:\n  extra_metrics: [{kind: {kind}}]",
    ),
    "loss": Role("loss", "LossContract", "training:\n  loss: {kind: {kind}}"),
    "backbone": Role(
        "backbone",
        "BackboneContract",
        "model:\n  backbone: {kind: {kind}, width: 128}",
        "width=16, layers=1, init_std=0.5",
    ),
    "sampler": Role(
        "sampler of search spaces",
        "SamplerContract",
        "search: {kind: {kind}, trials: 20}",
        "trials=12",
    ),
    "feature": Role(
        "kind of features",
        "FeatureContract",
        "features: {kind: {kind}}",
    ),
    "estimator": Role(
        "pose estimator",
        "EstimatorContract",
        "source: {kind: pose_tsv, train: train.tsv, videos: videos, estimator: {kind}}",
    ),
}
"""Kind of part, a key of `PART_GROUPS` → what its package contains."""


def write_part_package(role: str, name: str, out: Path) -> Path:
    """Write a package with a part of a kind, and return its folder.

    Args:
        role: A key of `ROLES`.
        name: `kind` of the part and name of its module.
        out: Folder in which the folder of the package is created.

    Raises:
        InputError: If there is no such kind of part, the name cannot be used, or the folder exists.
    """
    if role not in ROLES:
        raise InputError(f"`{role}` is no kind of part; choose one of {', '.join(ROLES)}")
    _check_name(role, name)
    folder = out / _get_package_name(role, name)
    if folder.exists():
        raise InputError(f"`{folder}` exists and is not overwritten; give another name, or `--out`")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder `{out}` cannot be made: {error.strerror}") from None
    environment = Environment(
        loader=PackageLoader("kinesweep.scaffolding"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # code and YAML, no HTML
    )
    files = {**_FILES, f"{name}.py": f"{role}.py", f"test_{name}.py": "test_part.py"}
    values = _collect_values(role, name, _list_used_words(environment, files.values()))

    def write_files(temporary_dir: Path) -> None:
        """Write all files to a temporary folder, which is renamed afterwards."""
        for path, template in files.items():
            text = environment.get_template(f"{template}.jinja").render(values)
            write_text(temporary_dir / path, text.rstrip() + "\n")

    write_folder(folder, write_files)
    return folder


def _get_package_name(role: str, name: str) -> str:
    """Return the name of a package and its folder, which is never that of its module."""
    # A folder of the module's name would hide the installed module from Python.
    return name.replace("_", "-") if "_" in name else f"{name}-{role}"


def _list_used_words(environment: Environment, templates: Iterable[str]) -> set[str]:
    """List the words in templates, among them the classes that they import, such as `Path`."""
    loader = environment.loader
    assert loader is not None
    sources = [loader.get_source(environment, f"{name}.jinja")[0] for name in templates]
    return {word for source in sources for word in re.findall(r"\w+", source)}


def _collect_values(role: str, name: str, used_words: Collection[str]) -> dict[str, str]:
    """Collect what the templates of a package insert.

    Args:
        role: A key of `ROLES`.
        name: Name of the part.
        used_words: Words in the templates, which the new class must not redefine.
    """
    facts = ROLES[role]
    class_name = "".join(word.capitalize() for word in name.split("_"))
    if class_name in used_words:
        class_name += role.capitalize()
    return {
        "role": role,
        "kind": name,
        "package": _get_package_name(role, name),
        "class_name": class_name,
        "entry_class": class_name if role == "estimator" else f"{class_name}Config",
        "group": PART_GROUPS[role],
        "noun": facts.noun,
        "article": "An" if facts.noun[0] in "aeiou" else "A",
        "contract": facts.contract,
        "example": facts.example.replace("{kind}", name),
        "test_arguments": facts.test_arguments,
    }


def _check_name(role: str, name: str) -> None:
    """Check that a name can be that of a kind and of a module.

    Args:
        role: A key of `ROLES`.
        name: Name of the part.

    Raises:
        InputError: If it cannot.
    """
    is_name = re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) and not keyword.iskeyword(name)
    if not is_name or len(name) > _MAX_NAME_LENGTH:
        raise InputError(
            f"`{name}` cannot be the name of a part; use at most {_MAX_NAME_LENGTH} lower-case"
            " letters, digits and single underscores, such as `my_encoder`"
        )
    if name in _BUILD_MODULES:
        raise InputError(
            f"`{name}` is the name of a module with a meaning of its own for pip or pytest; choose"
            " another name"
        )
    if name in list_our_kinds(PART_GROUPS[role]):
        raise InputError(
            f"`{name}` is one of Kinesweep's own kinds ({PART_GROUPS[role]}), which take precedence"
            " over parts of packages; choose another name"
        )
    # A package of this name would hide the module, or be hidden by it.
    if find_spec(name) is not None:
        raise InputError(f"`{name}` is the name of an installed module; choose another name")
