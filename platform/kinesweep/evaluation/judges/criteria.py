"""Criteria of judges and the prompts made of them.

A prompt states the criterion, its scale and steps of the assessment, as G-Eval does (Liu et al.,
2023), then the texts. The sport indicators follow those of CoachMe: each asks whether an
instruction tells an athlete one kind of thing. The wording is our own, so grades differ from those
that other prompts give.
"""

from collections.abc import Sequence
from functools import cache

from kinesweep.config.recipe.scores.judges import SPORT_INDICATORS, CriterionConfig
from kinesweep.core.hashing import compute_fingerprint

_TEMPLATE = """You grade one text by one criterion, on a scale of whole numbers.

Criterion: {title}, from {minimum} to {maximum}
{definition}

Steps:
{steps}

{references}Text to grade:
<text>
{hypothesis}
</text>

Reply with the grade only: one whole number from {minimum} to {maximum}."""
_INDICATOR_STEPS = (
    "Read the instruction that the text gives to an athlete.",
    "Look for words that meet the criterion. Hints that an athlete would have to guess do not"
    " count.",
    "Give 1 if there are such words, otherwise 0.",
)
_INDICATOR_DEFINITIONS = {
    "error": "1 if the text says what the athlete does wrong, or what to avoid, so that the mistake"
    " is clear; 0 if it does not.",
    "time": "1 if the text says when to act or in which phase of the movement, for example before,"
    " during or after another movement; 0 if it does not.",
    "body_part": "1 if the text names the parts of the body that the athlete has to attend to; 0"
    " if it names none.",
    "causation": "1 if the text connects a movement with its cause or its effect, such as what a"
    " mistake leads to or what a change is good for; 0 if it does not.",
    "method": "1 if the text tells the athlete how to improve the movement, as an action that can"
    " be carried out; 0 if it does not.",
    "coordination": "1 if the text explains how the body coordinates a movement, or how several"
    " parts of the body work together; 0 if it does not.",
}
_CONSISTENCY = CriterionConfig(
    name="consistency",
    definition="How well the text agrees with the reference, which a person wrote about the same"
    " motion. A consistent text states only what follows from the reference. 5: all statements"
    " follow from it. 3: some follow, others are not supported. 1: the text contradicts the"
    " reference or has nothing in common with it. Other wording of the same content is not a"
    " fault.",
    steps=(
        "List the facts and instructions of the reference.",
        "Compare each statement of the text with them, and note what they do not support.",
        "Choose the grade.",
    ),
    minimum=1,
    maximum=5,
)


def get_criterion(criterion: str | CriterionConfig) -> CriterionConfig:
    """Return a criterion of one's own, or the built-in one of a name."""
    if isinstance(criterion, CriterionConfig):
        return criterion
    # All other built-in criteria are sport indicators; the schema admits no other names.
    return _CONSISTENCY if criterion == "consistency" else _build_indicator(criterion)


@cache
def _build_indicator(name: str) -> CriterionConfig:
    """Build the criterion of a sport indicator."""
    assert name in SPORT_INDICATORS
    return CriterionConfig(
        name=name,
        definition=_INDICATOR_DEFINITIONS[name],
        steps=_INDICATOR_STEPS,
        minimum=0,
        maximum=1,
        reads_reference=False,
    )


def build_prompt(criterion: CriterionConfig, hypothesis: str, references: Sequence[str]) -> str:
    """Build the message to a judge.

    Args:
        criterion: Criterion with its scale.
        hypothesis: Text to grade.
        references: References that the judge sees; none for criteria on the text alone.
    """
    # A criterion of one's own may have no steps; the template has a place for them.
    steps = criterion.steps or ("Read the texts.", "Choose the grade.")
    title = "Reference" if len(references) == 1 else "References"
    quoted = "\n".join(f"<reference>\n{reference}\n</reference>" for reference in references)
    return _TEMPLATE.format(
        title=criterion.name.replace("_", " "),
        minimum=criterion.minimum,
        maximum=criterion.maximum,
        definition=criterion.definition,
        steps="\n".join(f"{number}. {step}" for number, step in enumerate(steps, start=1)),
        references=f"{title}:\n{quoted}\n\n" if references else "",
        hypothesis=hypothesis,
    )


def compute_prompt_digest(criterion: CriterionConfig) -> str:
    """Compute a digest of the wording of a prompt, 12 hexadecimal digits, for signatures."""
    # The number of references differs between clips and is no part of the wording.
    references = ("",) if criterion.reads_reference else ()
    return compute_fingerprint(build_prompt(criterion, "", references))[:12]
