"""A model that reads its own sentences: documents together write what each writes alone."""

import time
from collections.abc import Sequence
from statistics import median

import numpy as np
import pytest

from kinesweep.config.recipe.generation import GenerationConfig
from kinesweep.config.recipe.model import ModelConfig, TrainedTokenizerConfig
from kinesweep.config.recipe.prompt import ContextConfig, PromptConfig, PromptSettings
from kinesweep.core.clip import Clip
from kinesweep.core.seeds import seed_everything
from kinesweep.data.evaluation import FixedBatches, build_eval_batches
from kinesweep.data.text_tokenizer import TextTokenizer, build_tokenizer
from kinesweep.evaluation.decoding import decode_batches
from kinesweep.models import Translator, build_translator
from kinesweep.store.format.index import ClipRecord
from records import memory_store

pytestmark = pytest.mark.integration

WORDS = [f"w{number}" for number in range(40)]
GENERATION = GenerationConfig(num_beams=3, max_new_tokens=12)
ASKING = PromptSettings(
    PromptConfig(context="w0", question="w1"),
    ContextConfig(window=2, document_start=1, decoding_context="model"),
)


def record(document: int, order: int) -> ClipRecord:
    clip = Clip(
        id=f"d{document}/{order}",
        split="validation",
        media="",
        texts=(" ".join(WORDS[(document + order + n) % 40] for n in range(4)),),
        document=f"d{document}",
        order=order,
    )
    return ClipRecord(clip, {"pose": 5 + (document + 3 * order) % 7})


DOCUMENTS = [[record(document, order) for order in range(10)] for document in range(8)]


def features(record_: ClipRecord) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([record_.clip.order, int(record_.clip.document[1:])])
    return {"pose": rng.normal(size=(record_.lengths["pose"], 2)).astype(np.float32)}


@pytest.fixture(scope="module")
def text() -> TextTokenizer:
    config = TrainedTokenizerConfig(algorithm="word", size=64)
    return build_tokenizer(config, [r for clips in DOCUMENTS for r in clips], None, WORDS)


@pytest.fixture(scope="module", params=["llama", "t5"])
def model(request: pytest.FixtureRequest, text: TextTokenizer) -> Translator:
    llama = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    llama |= {"num_attention_heads": 4, "initializer_range": 0.4}
    t5 = {"d_model": 32, "num_layers": 2, "d_ff": 64, "num_heads": 4, "d_kv": 8}
    t5 |= {"initializer_factor": 3.0}
    kind, sizes = ("causal", llama) if request.param == "llama" else ("seq2seq", t5)
    plain = {"kind": kind, "scratch": {"architecture": request.param, **sizes}}
    seed_everything(3)
    config = ModelConfig.model_validate({"backbone": plain})
    return build_translator(config, {"pose": 2}, text.vocabulary).eval()


def batches(
    text: TextTokenizer, documents: Sequence[Sequence[ClipRecord]], max_frames: int
) -> FixedBatches:
    held = memory_store(*[r for clips in documents for r in clips], features=features)
    return build_eval_batches(held, "validation", text, max_frames, prompt_settings=ASKING)


def written(model: Translator, text: TextTokenizer, found: FixedBatches) -> dict[str, str]:
    return decode_batches(model, text, found, GENERATION.num_beams, GENERATION)


@pytest.mark.slow
def test_documents_beside_each_other_write_what_they_write_alone(
    model: Translator, text: TextTokenizer
) -> None:
    documents = DOCUMENTS[:4]
    together = written(model, text, batches(text, documents, 1000))
    alone: dict[str, str] = {}
    for document in documents:
        alone |= written(model, text, batches(text, [document], 1))
    assert together == alone
    assert len(set(together.values())) > 10


def test_what_was_written_is_read(model: Translator, text: TextTokenizer) -> None:
    """Another first sentence changes those after it, of its own document alone."""
    before = written(model, text, batches(text, DOCUMENTS[:2], 1000))
    shorter = [DOCUMENTS[0][1:], DOCUMENTS[1]]  # the first clip is gone
    after = written(model, text, batches(text, shorter, 1000))
    assert any(after[r.clip.id] != before[r.clip.id] for r in DOCUMENTS[0][1:4])
    assert all(after[r.clip.id] == before[r.clip.id] for r in DOCUMENTS[1])


@pytest.mark.slow
def test_eight_documents_together_are_three_times_as_fast(
    model: Translator, text: TextTokenizer
) -> None:
    ratios = []
    for _ in range(3):
        started = time.perf_counter()
        written(model, text, batches(text, DOCUMENTS, 1))  # clip by clip
        one = time.perf_counter()
        written(model, text, batches(text, DOCUMENTS, 1000))
        ratios.append((one - started) / (time.perf_counter() - one))
    print(f"{median(ratios):.1f} times as fast ({min(ratios):.1f} to {max(ratios):.1f})")
    assert median(ratios) >= 3
