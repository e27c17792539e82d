"""Evaluation batches of a side task: one question about each clip, in fixed batches.

The questions are a function of seed and clip, so all models, ranks and evaluations ask the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.prompt import PromptSettings, TaskEvaluationConfig
from kinesweep.core.errors import InputError, StoreError
from kinesweep.core.seeds import create_generator
from kinesweep.data.clip_collation import ClipCollator
from kinesweep.data.clip_selection import select_evenly
from kinesweep.data.context import DocumentContext, get_first_references
from kinesweep.data.evaluation import EvalBatches, get_context_source, group_by_length
from kinesweep.data.length_limits import filter_clips_by_length
from kinesweep.data.prompt import PromptBuilder
from kinesweep.data.signed_words import collect_signed_words
from kinesweep.data.tasks.questions import NUM_CHOICES, WORD_TASKS, Example, QuestionBuilder
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store


@dataclass(frozen=True)
class TaskData:
    """The clips, tokenizer and settings from which the questions of side tasks are made.

    Attributes:
        store: Feature store.
        split: Name of the split.
        tokenizer: Tokenizer of the model.
        prompt_settings: Texts of questions and answers, and context settings.
        max_frames: Frames per batch, including padding.
        batch_config: Batch config with length limits, truncation and ablation; None applies none.
    """

    store: Store
    split: str
    tokenizer: TextTokenizer
    prompt_settings: PromptSettings
    max_frames: int
    batch_config: BatchConfig | None = None

    @property
    def needs_translations(self) -> bool:
        """Return whether the model's own translations are the context of questions."""
        return get_context_source(self.prompt_settings) == "model"


@dataclass(frozen=True)
class TaskQuestions:
    """The questions of a side task about the clips of a split.

    Attributes:
        records: Clips that can be asked about.
        max_clips: Maximum number of clips that are asked about; None: all.
        examples: Clip id → question and answer.
        num_without_words: Number of clips that are not asked about, because the corpus names no
            words of them.
    """

    records: tuple[ClipRecord, ...]
    max_clips: int | None
    examples: dict[str, Example]
    num_without_words: int


def build_task_questions(task: str, config: TaskEvaluationConfig, data: TaskData) -> TaskQuestions:
    """Build the questions of a side task about the clips of a split.

    Words that are not signed in a clip come from the other clips of the split.

    Args:
        task: `word_present`, `which_words` or `reversed`.
        config: Seed of the questions and number of clips.
        data: Clips and settings.

    Raises:
        InputError: If no clip is within the length limits or can be asked about, or the clips have
            too few different words.
        StoreError: If the store has no such split.
    """
    store, split = data.store, data.split
    if split not in store.splits:
        raise StoreError(f"the store has no split `{split}`; it has {', '.join(store.splits)}")
    records = filter_clips_by_length(store.get_records(split), data.batch_config, split)[0]
    check_task_words([task], records, split)
    words = collect_signed_words(records) if task in WORD_TASKS else []
    builder = QuestionBuilder(data.prompt_settings.prompt, words)
    examples: dict[str, Example] = {}
    for record in records:
        # One generator per clip: a clip that is dropped does not change the questions of others.
        rng = create_generator(config.seed, "question", task, record.clip.id)
        if (example := builder.build(task, record.clip, rng)) is not None:
            examples[record.clip.id] = example
    # A clip without words has no question about words and is counted instead.
    asked = tuple(record for record in records if record.clip.id in examples)
    return TaskQuestions(asked, config.max_clips, examples, len(records) - len(asked))


def check_task_words(tasks: Iterable[str], records: Sequence[ClipRecord], split: str) -> None:
    """Check that the clips of a split have enough different words for tasks that ask about words.

    Raises:
        InputError: If they have too few.
    """
    word_tasks = sorted(WORD_TASKS.intersection(tasks))
    num_words = len(collect_signed_words(records)) if word_tasks else NUM_CHOICES
    if num_words < NUM_CHOICES:
        raise InputError(
            f"the task `{word_tasks[0]}` asks about words, but the clips of `{split}` have only"
            f" {num_words} (at least {NUM_CHOICES} are needed). Words come from the keywords or"
            f" glosses of the corpus; remove `{word_tasks[0]}` from `evaluation.tasks`"
        )


def build_task_batches(
    questions: TaskQuestions,
    data: TaskData,
    translations: Mapping[str, str],
    rank: int = 0,
    world_size: int = 1,
) -> EvalBatches:
    """Build one rank's batches of the questions of a side task.

    Args:
        questions: Clips and questions.
        data: Clips and settings.
        translations: Clip id → sentence of the model, which is the context if the recipe says so;
            questions about clips without a sentence are left out then.
        rank: Rank of this process.
        world_size: Number of processes.

    Raises:
        InputError: If the prompt settings do not fit the tokenizer.
    """
    all_records = data.store.get_records(data.split)
    source, records = get_context_source(data.prompt_settings), list(questions.records)
    if source == "model":
        # An evaluation during training translates whole documents, but not all of them.
        all_records = [record for record in all_records if record.clip.id in translations]
        records = [record for record in records if record.clip.id in translations]
    if questions.max_clips is not None and len(records) > questions.max_clips:
        # Evenly over the split, because neighbors often come from one document.
        records = select_evenly(records, questions.max_clips)
    texts: Mapping[str, str] = {
        "none": {},
        "references": get_first_references(all_records),
        "file": data.prompt_settings.prepared,
        "model": translations,
    }[source]
    if source == "file":
        # As for translations, the context comes from clips within the length limits.
        all_records = filter_clips_by_length(all_records, data.batch_config, data.split)[0]
    collator = ClipCollator(
        data.store,
        data.tokenizer,
        PromptBuilder(data.tokenizer, data.prompt_settings),
        # Context comes from all clips of a document, also from those that are not asked about.
        DocumentContext([] if source == "none" else all_records, data.prompt_settings.context),
        texts,
        uses_predictions=False,
        batch_config=data.batch_config,
        examples=questions.examples,
    )
    groups = group_by_length(records, data.max_frames, data.batch_config) if records else []
    return EvalBatches(collator, [groups], rank, world_size)
