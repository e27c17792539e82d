"""How much of the reference texts a model's tokenizer can write.

A model cannot score 100 on characters that its tokenizer does not know or writes differently, nor
on references that are longer than its output may be. Scores show none of this, so each split is
examined: up to 1,000 clips, spread evenly, which takes about 0.1 s with sentences of 15 words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.evaluation.text_normalization import unify_forms
from kinesweep.store.format.index import ClipRecord

_MAX_CLIPS = 1000
# Share of unknown tokens, changed texts or mixed spellings above which a warning is due.
WARNING_SHARE = 0.01


@dataclass(frozen=True)
class TextCoverage:
    """What a tokenizer does to the reference texts of a split, measured on a sample of clips.

    Attributes:
        num_texts: Number of examined texts.
        unknown_share: Share of their tokens that are unknown to the tokenizer.
        changed_share: Share of the texts that differ after encoding and decoding, apart from
            the forms of characters that scoring unifies, and from case if texts are lowercased.
        changed_example: First such text and what becomes of it; empty without any.
        ununified_share: Share of the texts with forms of characters that scoring unifies, such as
            decomposed letters.
        num_too_long: Number of texts with more tokens than the model may generate.
        longest: Number of tokens of the longest text, with its decoder prompt and end of sentence.
        longest_clip: Id of the clip with that text.
    """

    num_texts: int
    unknown_share: float
    changed_share: float
    changed_example: str
    ununified_share: float
    num_too_long: int
    longest: int
    longest_clip: str

    @property
    def shares(self) -> dict[str, float]:
        """Return the shares that a result reports: unknown tokens, changed and too long texts."""
        return {
            "unknown_tokens": self.unknown_share,
            "changed_texts": self.changed_share,
            "too_long_texts": self.num_too_long / max(1, self.num_texts),
        }


def measure_coverage(
    records: Sequence[ClipRecord], tokenizer: TextTokenizer, max_new_tokens: int
) -> TextCoverage:
    """Measure what a tokenizer does to the reference texts of clips.

    Args:
        records: Clips of a split; up to 1,000 of them are examined, spread evenly.
        tokenizer: Tokenizer of the model.
        max_new_tokens: Maximum number of tokens that the model generates for a clip.
    """
    sample = records[:: max(1, -(-len(records) // _MAX_CLIPS))]
    num_texts = num_tokens = num_unknown = num_changed = num_ununified = num_too_long = 0
    longest, longest_clip, example = 0, "", ""
    # Not `encode_prompt`: a tag that is unknown is an error only where the split is scored. Clips
    # share few decoder prompts, usually one for each language.
    num_forced_tokens = {
        prompt: len(tokenizer.tokenizer.encode(prompt, add_special_tokens=False))
        for prompt in {record.clip.decoder_prompt for record in sample}
    }
    for clip in (record.clip for record in sample):
        num_forced = num_forced_tokens[clip.decoder_prompt]
        for text in clip.training_texts:
            ids = tokenizer.encode_text(text)
            decoded = tokenizer.decode(ids)
            num_texts, num_tokens = num_texts + 1, num_tokens + len(ids)
            num_unknown += 0 if tokenizer.unknown_id is None else ids.count(tokenizer.unknown_id)
            is_equal = decoded == text or _is_equal_in_scores(decoded, text, tokenizer)
            if not is_equal:
                num_changed += 1
                example = example or f"`{text}` becomes `{decoded}`"
            num_ununified += unify_forms(text) != text
            # The end of sentence is generated as well.
            length = num_forced + len(ids) + 1
            num_too_long += length > max_new_tokens
            if length > longest:
                longest, longest_clip = length, clip.id
    return TextCoverage(
        num_texts=num_texts,
        unknown_share=num_unknown / max(1, num_tokens),
        changed_share=num_changed / max(1, num_texts),
        changed_example=example,
        ununified_share=num_ununified / max(1, num_texts),
        num_too_long=num_too_long,
        longest=longest,
        longest_clip=longest_clip,
    )


def format_coverage_warnings(split: str, coverage: TextCoverage, max_new_tokens: int) -> list[str]:
    """Format the warnings about the texts of a split, of one or two sentences each.

    Unknown tokens and changed texts are reported above 1 %, every text that is too long.

    Args:
        split: Name of the split.
        coverage: Measurements on the split.
        max_new_tokens: Maximum number of tokens that the model generates for a clip.
    """
    warnings = []
    if coverage.unknown_share > WARNING_SHARE:
        warnings.append(
            f"{coverage.unknown_share:.1%} of the tokens in the texts of {split} are unknown to the"
            " tokenizer, and unknown tokens never count as right. Train the tokenizer on these"
            " texts (`model.tokenizer`), or use one that covers their script."
        )
    if coverage.changed_share > WARNING_SHARE:
        warnings.append(
            f"{coverage.changed_share:.1%} of the texts of {split} are not the same after encoding"
            f" and decoding: {coverage.changed_example}. The model cannot write them as the"
            " references do; change the texts of the corpus or the tokenizer."
        )
    if WARNING_SHARE < coverage.ununified_share < 1 - WARNING_SHARE:
        warnings.append(
            f"{coverage.ununified_share:.1%} of the texts of {split} contain characters in other"
            " forms (decomposed letters, presentation forms, full width, invisible marks). Scores"
            " treat them as equal, but the model learns two spellings of the same words. Convert"
            " the corpus to NFC."
        )
    if coverage.num_too_long:
        warnings.append(
            f"{coverage.num_too_long} of {coverage.num_texts} texts of {split}"
            f" ({coverage.shares['too_long_texts']:.1%}) have more tokens than"
            f" `generation.max_new_tokens` ({max_new_tokens}), the longest {coverage.longest}"
            f" (clip `{coverage.longest_clip}`); their translations are cut off. Raise it."
        )
    return warnings


def format_share_warnings(shares_by_split: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Format one warning for each split whose texts the model cannot write, from a run's result.

    Workers on Ray log the full warnings in their own files, which nobody reads.

    Args:
        shares_by_split: Split → shares as in `TextCoverage.shares`.
    """
    warnings = []
    for split, shares in shares_by_split.items():
        unknown, changed, too_long = (
            shares.get(name, 0.0) for name in ("unknown_tokens", "changed_texts", "too_long_texts")
        )
        parts = []
        if unknown > WARNING_SHARE:
            parts.append(f"{unknown:.1%} of the tokens are unknown to the tokenizer")
        if changed > WARNING_SHARE:
            parts.append(f"{changed:.1%} are not the same after encoding and decoding")
        if too_long:
            parts.append(f"{too_long:.1%} are longer than `generation.max_new_tokens`")
        if parts:
            warnings.append(
                f"texts of {split}: {', '.join(parts)}; the model cannot write them as the"
                " references do"
            )
    return warnings


def _is_equal_in_scores(decoded: str, text: str, tokenizer: TextTokenizer) -> bool:
    """Return whether two texts differ in forms of characters, spaces and intended case at most."""
    decoded, text = (" ".join(unify_forms(each).split()) for each in (decoded, text))
    # A tokenizer that lowercases loses the case on purpose.
    return decoded.lower() == text.lower() if tokenizer.lowercase else decoded == text
