"""The part of `evaluate` that scores a model's answers to side tasks.

Arguments are checked before PyTorch is imported, which takes seconds; hence the late imports.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from kinesweep.cli.console import print_json_result, print_line
from kinesweep.config.recipe.prompt import SideTaskName
from kinesweep.config.suggestions import suggest_closest_word
from kinesweep.core.errors import InputError

if TYPE_CHECKING:
    from kinesweep.evaluation.tasks.task_scores import TaskScores


def evaluate_tasks(
    model: Path,
    split: str,
    tasks: Sequence[str],
    overrides: Sequence[str],
    out: Path | None,
    *,
    overwrite: bool,
    json_line: bool,
    device: str,
) -> None:
    """Score a model's answers to side tasks and print the scores.

    Args:
        model: Folder of a run, a model or a bundle.
        split: Name of the split.
        tasks: Names of the tasks.
        overrides: Overrides of the model's recipe.
        out: Output folder of the answers and scores; None: nothing is written.
        overwrite: Whether existing files may be replaced.
        json_line: Whether to print the scores as a line of JSON too.
        device: Name of the device of the model.

    Raises:
        InputError: If a task is unknown, or an output file exists.
    """
    from kinesweep.checkpoints.model_dir_files import check_model_folder
    from kinesweep.pipelines.inputs import resolve_model_dir

    # Cheap checks first: a misspelt task is reported before PyTorch is imported.
    names = parse_task_names(tasks)
    check_model_folder(resolve_model_dir(model))
    from kinesweep.evaluation.tasks.answer_files import resolve_task_paths
    from kinesweep.pipelines.evaluation import evaluate_tasks_of_model_dir

    # Before the evaluation, which would be lost if its files could not be written.
    paths = None if out is None else resolve_task_paths(out, split, names, overwrite)
    answered = evaluate_tasks_of_model_dir(model, split, names, overrides, paths, device=device)
    scores = {task: each.scores for task, each in answered.items()}
    print_task_scores(scores)
    print_json_result({"tasks": {task: each.to_json() for task, each in scores.items()}}, json_line)


def parse_task_names(tasks: Sequence[str]) -> list[SideTaskName]:
    """Return the names of side tasks, each once.

    Raises:
        InputError: If there is no such task.
    """
    known_tasks = get_args(SideTaskName)
    for task in tasks:
        if task not in known_tasks:
            raise InputError(
                f"`--task` must be {', '.join(known_tasks[:-1])} or {known_tasks[-1]}, but is"
                f" `{task}`{suggest_closest_word(task, known_tasks)}"
            )
    return cast("list[SideTaskName]", list(dict.fromkeys(tasks)))


def print_task_scores(scores: "Mapping[str, TaskScores]") -> None:
    """Print the scores of side tasks: a line for each task, and one for each answer."""
    for task, each in scores.items():
        print_line(
            f"{task}: {each.accuracy:.2f} % [{each.low:.2f}, {each.high:.2f}] right of"
            f" {each.clips} answers; always “{each.constant_answer}”:"
            f" {each.constant_accuracy:.2f} %"
        )
        for name, answer in each.answers.items():
            shares = (("precision", answer.precision), ("recall", answer.recall), ("F1", answer.f1))
            texts = [f"{key} {'–' if share is None else f'{share:.3f}'}" for key, share in shares]
            print_line(
                f"  {name}: {', '.join(texts)} ({answer.given} given, {answer.expected} right)"
            )
        if each.unparsed:
            print_line(f"  {each.unparsed} answers cannot be read and count as wrong")
        if each.without_words:
            print_line(f"  {each.without_words} clips have no words and were not asked about")
