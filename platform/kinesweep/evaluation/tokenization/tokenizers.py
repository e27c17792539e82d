"""sacreBLEU metrics over words of any tokenizer that a scoring protocol can name.

sacreBLEU's tokenizers come from sacreBLEU; `fsw` is added. chrF++ and TER split at spaces on their
own, which makes one word of a sentence in a script without spaces; under a tokenizer for such a
script they count its words instead, and name it in their signatures. BLEU has no score if all
references are shorter than its order; it then uses the order that the references have.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from sacrebleu.metrics import BLEU, CHRF, TER
from sacrebleu.metrics.chrf import CHRFSignature
from sacrebleu.utils import SACREBLEU_DIR

from kinesweep.core.errors import InputError
from kinesweep.evaluation.tokenization.fsw import FswTokenizer

# Tokenizers that find words where a text has no spaces.
_WORD_FINDERS = frozenset({"zh", "ja-mecab", "ko-mecab", "char", "fsw", "flores200"})
_SPM_FILE = Path(SACREBLEU_DIR) / "models" / "flores200sacrebleuspm"
_SPM_URL = "https://tinyurl.com/flores200sacrebleuspm"


@cache
def create_tokenizer(name: str) -> Any:
    """Create the tokenizer of a name, with sacreBLEU's interface; the same object for each name.

    Args:
        name: Name of a tokenizer, as in `evaluation.protocol.tokenize`, except `auto`.

    Raises:
        InputError: If the tokenizer needs a package or a model file that is missing.
    """
    if name == "fsw":
        return FswTokenizer()
    # sacreBLEU would download the model, in every process and without asking.
    if name == "flores200" and not _SPM_FILE.is_file():
        raise InputError(
            "`evaluation.protocol.tokenize: flores200` needs a SentencePiece model that is not"
            f" there: download `{_SPM_URL}` to `{_SPM_FILE}`, or choose another tokenizer"
            " (`auto`, `char`, `zh`, `ja-mecab`)"
        )
    try:
        # BLEU resolves the name to a tokenizer; sacreBLEU's own function for it is private.
        return BLEU(tokenize=name).tokenizer
    except RuntimeError:
        extra = name.partition("-")[0]
        raise InputError(
            f"`evaluation.protocol.tokenize: {name}` needs packages that are not installed:"
            f' run `pip install "sacrebleu[{extra}]"`, or choose another tokenizer'
        ) from None


def create_bleu(tokenize: str, order: int = 4) -> BLEU:
    """Create a BLEU metric.

    Args:
        tokenize: Name of a tokenizer, as in `evaluation.protocol.tokenize`, except `auto`.
        order: Maximum n-gram order.

    Raises:
        InputError: See `create_tokenizer`.
    """
    # `force` silences the warning about tokenized texts, which some corpora contain on purpose.
    bleu = BLEU(force=True, tokenize="none", max_ngram_order=order)
    bleu.tokenizer = create_tokenizer(tokenize)
    bleu.tokenizer_signature = bleu.tokenizer.signature()
    return bleu


def find_bleu_order(tokenize: str, references: Iterable[str], max_order: int) -> int:
    """Return the n-gram order of BLEU: `max_order`, or the length of the longest reference if less.

    References of one to three words have no 4-grams, so BLEU-4 would be 0 whatever the hypotheses.
    It depends on the references alone, hence it is the same for all systems.

    Args:
        tokenize: Name of a tokenizer, as in `evaluation.protocol.tokenize`, except `auto`.
        references: Normalized reference texts.
        max_order: Order of the metric.

    Raises:
        InputError: See `create_tokenizer`.
    """
    tokenizer = create_tokenizer(tokenize)
    longest = 1
    for reference in references:
        longest = max(longest, len(tokenizer(reference.rstrip()).split()))
        # The first reference of a normal corpus ends the search.
        if longest >= max_order:
            return max_order
    return longest


def create_chrf_plus_plus(tokenize: str) -> CHRF:
    """Create a chrF++ metric; see the module for its words.

    Raises:
        InputError: See `create_tokenizer`.
    """
    if tokenize not in _WORD_FINDERS:
        return CHRF(word_order=2)
    return _TokenizedCHRF(tokenize)


def create_ter(tokenize: str) -> TER:
    """Create a TER metric that respects the case; see the module for its words.

    Raises:
        InputError: See `create_tokenizer`.
    """
    ter = TER(case_sensitive=True)
    if tokenize in _WORD_FINDERS:
        ter.tokenizer = create_tokenizer(tokenize)
        ter.tokenizer_signature = ter.tokenizer.signature()
    return ter


class _TokenizedCHRFSignature(CHRFSignature):
    """A signature of chrF++ that names the tokenizer of its words."""

    def __init__(self, args: dict[str, Any]) -> None:
        super().__init__(args)
        self._abbr["tok"] = "tok"
        self.info["tok"] = args["tokenizer_signature"]


class _TokenizedCHRF(CHRF):
    """chrF++ whose words come from a tokenizer; its characters are those of chrF.

    Args:
        tokenize: Name of a tokenizer, as in `evaluation.protocol.tokenize`, except `auto`.
    """

    _SIGNATURE_TYPE = _TokenizedCHRFSignature

    def __init__(self, tokenize: str) -> None:
        super().__init__(word_order=2)
        self._tokenizer = create_tokenizer(tokenize)
        self.tokenizer_signature = self._tokenizer.signature()

    def _preprocess_segment(self, sent: str) -> str:
        """Return a text as its words, separated by spaces, which the characters leave out."""
        return str(self._tokenizer(sent.rstrip()))
