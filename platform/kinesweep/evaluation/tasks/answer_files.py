"""Tables of a model's answers in a side task, one row for each clip."""

from collections.abc import Sequence
from pathlib import Path

from kinesweep.core.errors import InputError
from kinesweep.core.io import write_text
from kinesweep.core.tables.table_writing import format_table
from kinesweep.evaluation.tasks.evaluate_tasks import TaskEvaluation

_COLUMNS = ("id", "question", "reversed", "expected", "text", "parsed", "correct")


def write_answers(path: Path, evaluation: TaskEvaluation) -> None:
    """Write the answers of a task to a TSV file, replacing the file atomically.

    The columns are id, question, reversed (1 if the frames ran backwards), expected (the right
    answer), text (what the model wrote), parsed (the answer read from it; empty if it cannot be
    read) and correct (1 or 0).

    Args:
        path: Output file; missing parent folders are created.
        evaluation: Answers of the task.
    """
    rows = [list(_COLUMNS)]
    for answer in evaluation.answers:
        example = answer.example
        rows.append(
            [
                answer.clip_id,
                example.question or "",
                str(int(example.is_reversed)),
                example.answer,
                answer.text,
                # Empty for an unreadable answer, whose text stands in the column before.
                answer.parsed or "",
                str(int(answer.is_correct)),
            ]
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, format_table(rows))


def resolve_task_paths(
    out: Path, split: str, tasks: Sequence[str], overwrite: bool
) -> dict[str, Path]:
    """Return the output files of side tasks, which do not exist or may be replaced.

    Args:
        out: Output folder.
        split: Name of the split, which the names of the files begin with.
        tasks: Names of the tasks.
        overwrite: Whether existing files may be replaced.

    Returns:
        Task → TSV file of its answers, and `results` → JSON file of the scores.

    Raises:
        InputError: If a file exists and `overwrite` is not set, or if `out` is a file.
    """
    if out.is_file() or out.suffix == ".tsv":
        raise InputError(f"`{out}` is the name of a file; pass a folder for the answers of tasks")
    paths = {task: out / f"{split}_{task}.tsv" for task in tasks}
    paths["results"] = out / f"{split}_task_results.json"
    for path in paths.values():
        if path.exists() and not overwrite:
            raise InputError(f"`{path}` already exists; choose another path or pass `--overwrite`")
    return paths
