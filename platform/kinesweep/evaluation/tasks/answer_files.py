"""Tables of a model's answers in a side task, one row for each clip."""

from pathlib import Path

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
