"""The style of the package, measured: docstrings, comments, sizes, import cycles, private names.

Ruff checks that docstrings open with an imperative verb (D401) in `make lint`.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "platform" / "kinesweep"
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST, MOST_MODULES = 300, 20
LONG = {"api.py": "one function a command: nearly all of it are signatures and docstrings"}
"""Modules over 300 lines, and why."""
FRAGMENT = re.compile(r"\s+\*{0,2}\w+(, \w+)*: (of|what|whose|how)\b", re.IGNORECASE)
COMMENT = re.compile(r"(^\s*|\s\s)#\s")
PICTURES = set(
    """
    Ears Desk Seam Squares Packs Frozen Footage Film Fault Places Room Stands Difference Parting
    Ending Showing ShownLog Agenda Proposal Proposer Never Asha Served Stage SweepDone Prompter
    TrainStream RowProblem JoinedSource GivenStep HandOver Earlier Computer Meter Seen Expected
    AwayError RefusedError near_miss instead_of told_apart raise_faults workshop calm
    words_spoken first_frames put_together load_exactly own_state begin_like splice treat
    begin_with tidy on_first wait_for_all judged judge detectable why_no_more goes_on write_page
    shares_of draw_winner left_to_estimate_s evaluate_folder outputs_at run_space run_in
    claim_sweep features_of store_of train_nothing say_evaluation open_logs make_placeless
    taken_batch staged_model weights_of bytes_below after_ids num_places companions encode_said
    say
    """.split()  # noqa: SIM905
)
"""Names that were pictures of the authors' own where the field has a term."""


def test_modules_are_short() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in MODULES}
    long = {name for name, length in lengths.items() if length > LONGEST}
    assert long == set(LONG)


def test_folders_are_small() -> None:
    folders = {path.parent for path in MODULES}
    counts = {name_of(folder): len([*folder.glob("*.py")]) for folder in folders}
    assert {name: n for name, n in counts.items() if n > MOST_MODULES} == {}


def test_comments_are_three_to_eight_in_a_hundred_lines() -> None:
    lines = [line for path in MODULES for line in path.read_text().splitlines()]
    assert 3 <= 100 * sum(bool(COMMENT.search(line)) for line in lines) / len(lines) <= 8


def test_lines_of_arguments_stand_alone() -> None:
    fragments = [
        f"{name_of(path)}:{number}: {line.strip()}"
        for path in MODULES
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if FRAGMENT.match(line)
    ]
    assert fragments == []


def test_a_fragment_would_be_found() -> None:
    assert FRAGMENT.match("        folder: of the run.")
    assert not FRAGMENT.match("        folder: Run folder.")


def test_no_private_names() -> None:
    defined = {
        (node.name, name_of(path))
        for path in MODULES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert [(name, where) for name, where in sorted(defined) if name in PICTURES] == []


def test_no_import_cycles_even_in_functions() -> None:
    graph = {module_of(path): set(imports_of(path)) for path in MODULES}
    assert [group for group in cycles(graph) if len(group) > 1] == []


def test_a_cycle_would_be_found() -> None:
    found = list(cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}}))
    assert sorted(sorted(group) for group in found) == [["a"], ["b", "c"]]


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports_of(path: Path) -> Iterator[str]:
    """Modules of the package that a module imports anywhere, functions included."""
    known = {module_of(other) for other in MODULES}
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and node.module in known:
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in known else str(node.module) for name in names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)


def cycles(graph: dict[str, set[str]]) -> Iterator[set[str]]:
    """Strongly connected parts: modules that reach each other."""

    def reach(start: str) -> set[str]:
        found, waiting = {start}, [start]
        while waiting:
            for name in graph.get(waiting.pop(), set()) - found:
                found.add(name)
                waiting.append(name)
        return found

    reached = {name: reach(name) for name in graph}
    left = set(graph)
    while left:
        name = min(left)
        group = {other for other in reached[name] if name in reached.get(other, set())}
        left -= group
        yield group


def test_commands_are_short() -> None:
    """What a command does belongs into `pipelines`; here are options, calls and printed lines."""
    lengths = {}
    for path in sorted((PACKAGE / "cli").glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            decorators = getattr(node, "decorator_list", [])
            if any("wrap_command" in ast.unparse(decorator) for decorator in decorators):
                first, last = node.body[1], node.body[-1]
                lengths[node.name] = (last.end_lineno or 0) - first.lineno + 1
    assert len(lengths) > 20
    assert {name: length for name, length in lengths.items() if length > 25} == {}


def test_few_functions_take_a_whole_recipe() -> None:
    """Parts get their own section or built parts; only entry points need all sections."""
    takers = []
    for path in MODULES:
        name = name_of(path)
        if name.startswith(("config/", "pipelines/")) or name == "api.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                annotations = [a.annotation for a in (*node.args.args, *node.args.kwonlyargs)]
                if any(
                    a is not None and re.search(r"\bRecipe\b", ast.unparse(a)) for a in annotations
                ):
                    takers.append(f"{name}: {node.name}")
    assert 10 < len(takers) <= 30, takers


def test_functions_take_at_most_six_positional_arguments() -> None:
    """Commands aside, whose parameters are their options."""
    many = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and not name_of(path).startswith("cli/"):
                names = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
                if len([name for name in names if name not in {"self", "cls"}]) > 6:
                    many.add(f"{name_of(path)}: {node.name}")
    # Its tensors are those of `Translator.forward`, in the same order.
    assert many == {"models/translator.py: _build_input_vectors"}
