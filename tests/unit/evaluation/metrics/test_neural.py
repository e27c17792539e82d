"""BERTScore and BLEURT, with tiny models that are built and saved here."""

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizer

from corpus import tiny_recipe
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.core.errors import InputError
from kinesweep.evaluation.evaluate import evaluate_texts
from kinesweep.evaluation.metrics import compute_extra_scores
from kinesweep.store import Store

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "sun", "shines", "rain", "falls", "north"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `bert`, `bleurt` (one number) and `classes` (three)."""
    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(2)
    tokenizer = BertTokenizer(vocab={word: index for index, word in enumerate(WORDS)})
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(vocab_size=len(WORDS), intermediate_size=32, initializer_range=0.5, **size)
    BertModel(config).save_pretrained(root / "bert")
    BertForSequenceClassification(
        BertConfig.from_dict({**config.to_dict(), "num_labels": 1})
    ).save_pretrained(root / "bleurt")
    BertForSequenceClassification(
        BertConfig.from_dict({**config.to_dict(), "num_labels": 3})
    ).save_pretrained(root / "classes")
    for name in ("bert", "bleurt", "classes"):
        tokenizer.save_pretrained(root / name)
    return root


def asked(models: Path, **learned: object) -> EvaluationConfig:
    return EvaluationConfig.model_validate({"neural_metrics": learned})


SAID = {"a": "the sun shines", "b": "rain falls", "c": "", "d": "the north"}
WANTED = {
    "a": ("the sun shines",),
    "b": ("the rain falls", "rain falls"),
    "c": ("the sun",),
    "d": ("rain shines",),
}


@pytest.mark.parametrize("layer", [None, 1])
def test_bertscore_by_hand(models: Path, layer: int | None) -> None:
    config = asked(models, bertscore={"model": str(models / "bert"), "layer": layer})
    found = compute_extra_scores(SAID, WANTED, config)
    model = BertModel.from_pretrained(models / "bert").eval()
    tokenizer = BertTokenizer.from_pretrained(models / "bert")

    def vectors(text: str) -> torch.Tensor:
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
        x_LE = states.hidden_states[-1 if layer is None else layer][0, 1:-1]
        return x_LE / x_LE.norm(dim=-1, keepdim=True)

    def f1(said: str, wanted: str) -> float:
        cosines = vectors(said) @ vectors(wanted).T
        precision, recall = cosines.amax(1).mean(), cosines.amax(0).mean()
        return float(2 * precision * recall / (precision + recall))

    own = [max(f1(SAID[i], w) for w in WANTED[i]) if SAID[i] else 0.0 for i in SAID]
    assert own[:2] == pytest.approx([1, 1], abs=1e-5) and own[3] < 0.99
    assert found.values["bertscore"] == pytest.approx(100 * sum(own) / 4, abs=1e-3)
    assert found.signatures["bertscore"] == (
        f"protocol:raw|bertscore|f1|idf:no|layer:{layer or 'last'}|model:bert"
    )


def test_bertscore_of_many_texts_is_that_of_each_alone(models: Path) -> None:
    """Texts and references of all lengths in one batch."""
    texts = {str(n): " ".join(WORDS[4:10][: 1 + n % 5]) for n in range(9)}
    wanted = {str(n): (" ".join(WORDS[4:10][n % 4 :][:4]),) for n in range(9)}
    config = asked(models, bertscore={"model": str(models / "bert")})
    found = compute_extra_scores(texts, wanted, config).clip_scores["bertscore"]
    for clip_id, text in texts.items():
        alone = compute_extra_scores({clip_id: text}, {clip_id: wanted[clip_id]}, config)
        assert found[clip_id] == pytest.approx(alone.values["bertscore"], abs=1e-3)
    assert len({round(score, 3) for score in found.values()}) > 5


def test_bleurt_by_hand(models: Path) -> None:
    found = compute_extra_scores(SAID, WANTED, asked(models, bleurt=str(models / "bleurt")))
    model = BertForSequenceClassification.from_pretrained(models / "bleurt").eval()
    tokenizer = BertTokenizer.from_pretrained(models / "bleurt")

    def one(said: str, wanted: str) -> float:
        with torch.no_grad():
            return float(model(**tokenizer(wanted, said, return_tensors="pt")).logits)

    own = [max(one(SAID[i], w) for w in WANTED[i]) if SAID[i] else 0.0 for i in SAID]
    assert len(set(own)) == 4
    assert found.values["bleurt"] == pytest.approx(100 * sum(own) / 4, abs=1e-3)


def test_the_protocol_counts(models: Path) -> None:
    said, wanted = {"a": "The Sun."}, {"a": ("rain.",)}
    learned = {"bleurt": str(models / "bleurt")}
    plain = EvaluationConfig.model_validate({"neural_metrics": learned})
    treated = EvaluationConfig.model_validate({"neural_metrics": learned, "protocol": "phoenix"})
    first, second = (compute_extra_scores(said, wanted, config) for config in (plain, treated))
    assert first.values != second.values
    assert second.signatures["bleurt"].startswith("protocol:phoenix|")


@pytest.mark.parametrize(
    ("learned", "said"),
    [
        ({"bleurt": "classes"}, "gives 3 numbers"),
        ({"bleurt": "bert"}, "`classifier"),
        ({"bleurt": "nothing"}, "cannot be read"),
        ({"bertscore": {"model": "nothing"}}, "cannot be read"),
        ({"bertscore": {"model": "bert", "layer": 3}}, "has 2 layers"),
    ],
)
def test_models_that_do_not_fit(models: Path, learned: dict[str, object], said: str) -> None:
    def placed(value: object) -> object:
        if isinstance(value, str):
            return str(models / value)
        return {**value, "model": str(models / value["model"])} if isinstance(value, dict) else None

    config = asked(models, **{key: placed(value) for key, value in learned.items()})
    with pytest.raises(InputError, match=said):
        compute_extra_scores(SAID, WANTED, config)


def test_results_have_them_and_nothing_else_loads_them(models: Path, store: Store) -> None:
    records = store.get_records("validation")
    texts = {record.clip.id: record.clip.texts[0] for record in records}
    found = evaluate_texts(texts, store, "validation", asked(models, bleurt=str(models / "bleurt")))
    assert {"bleu", "chrf", "bleurt"} == set(found.scores) == set(found.signatures)
    bare = evaluate_texts(texts, store, "validation", EvaluationConfig())
    assert set(bare.scores) == {"bleu", "chrf"}


def test_folders_are_resolved_and_leave_no_trace(
    models: Path, corpus: Path, tmp_path: Path
) -> None:
    learned = {"bleurt": "bleurt", "bertscore": {"model": "bert"}}
    recipe: Recipe = tiny_recipe(corpus, tmp_path, evaluation={"neural_metrics": learned})
    resolved = recipe.resolve_paths(models)
    assert resolved.evaluation.neural_metrics.bleurt == str(models / "bleurt")
    assert resolved.evaluation.neural_metrics.bertscore is not None
    assert resolved.evaluation.neural_metrics.bertscore.model == str(models / "bert")
    assert resolved.compute_config_hash("x") == recipe.compute_config_hash("x")
    assert resolved.to_portable().evaluation.neural_metrics == recipe.evaluation.neural_metrics
