"""BERTScore equals the package bert-score: weights, baselines, several references, empty texts."""

import importlib.util
import json
from pathlib import Path

import pytest

from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.core.errors import InputError
from kinesweep.evaluation.metrics import build_metric, compute_extra_scores

GOLDEN = Path(__file__).parents[3] / "golden" / "bertscore"
SPEC = importlib.util.spec_from_file_location("tiny_bertscore", GOLDEN / "tiny.py")
assert SPEC is not None and SPEC.loader is not None
tiny = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tiny)
EXPECTED = json.loads((GOLDEN / "expected.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bertscore")
    for kind in ("bert", "roberta"):
        tiny.build(root / kind, kind)
    (root / "baseline.tsv").write_text(tiny.BASELINE)
    return root


def config(folder: Path, kind: str = "bert", **settings: object) -> EvaluationConfig:
    values = {"model": str(folder / kind), **settings}
    return EvaluationConfig.model_validate({"neural_metrics": {"bertscore": values}})


@pytest.mark.parametrize("case", tiny.CASES, ids=tiny.name_of)
def test_scores_equal_those_of_the_package(folder: Path, case: tiny.Case) -> None:
    """`tests/golden/bertscore/generate.py` ran bert-score 0.3.13 on the same models and texts."""
    settings = {"idf": case.idf, "layer": case.layer, "variant": "bert_score"}
    if case.rescale:
        settings |= {"rescale_with_baseline": True, "baseline": str(folder / "baseline.tsv")}
    asked = config(folder, case.kind, precision_recall=True, **settings)
    found = compute_extra_scores(tiny.HYPOTHESES, tiny.REFERENCES, asked)
    precision, recall, f1 = EXPECTED[tiny.name_of(case)]
    clip_scores = [found.clip_scores["bertscore"][i] / 100 for i in sorted(tiny.HYPOTHESES)]
    assert clip_scores == pytest.approx(f1, abs=1e-5)
    assert found.values["bertscore"] / 100 == pytest.approx(sum(f1) / len(f1), abs=1e-5)
    for name, values in (("precision", precision), ("recall", recall)):
        mean = sum(values) / len(values)
        assert found.values[f"bertscore_{name}"] / 100 == pytest.approx(mean, abs=1e-5)
    # The numbers tell the cases apart.
    assert len({json.dumps(EXPECTED[tiny.name_of(other)]) for other in tiny.CASES}) == 8


def test_the_variant_follows_from_weights_and_baselines(folder: Path) -> None:
    path = str(folder / "baseline.tsv")
    plain, weighted, rescaled = (
        build_metric("bertscore", config(folder, **settings))
        for settings in ({}, {"idf": True}, {"rescale_with_baseline": True, "baseline": path})
    )
    signatures = [
        m.compute({"a": "x"}, {"a": ["x"]}).signature for m in (plain, weighted, rescaled)
    ]
    prefix = "protocol:raw|bertscore|f1|idf:"
    assert signatures == [
        f"{prefix}no|layer:last|model:bert",
        f"{prefix}references|layer:last|model:bert|variant:bert_score",
        f"{prefix}no|layer:last|model:bert|baseline:0.230000|variant:bert_score",
    ]


def test_weights_come_from_the_references_of_the_split(folder: Path) -> None:
    """A resample uses the weights of the whole split, so statistics of clips are its scores."""
    metric = build_metric("bertscore", config(folder, idf=True))
    rows = metric.compute_clip_statistics(tiny.HYPOTHESES, tiny.REFERENCES)
    whole = metric(tiny.HYPOTHESES, tiny.REFERENCES)
    assert metric.compute_score_from_sum(rows.sum(0)) == pytest.approx(whole)
    alone = metric({"a": tiny.HYPOTHESES["a"]}, {"a": tiny.REFERENCES["a"]})
    assert abs(alone - rows[0, 0]) > 0.1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        ("LAYER;P\n", "whose first line is `LAYER;P`"),
        ("LAYER,P,R,F\n2,0.1,0.2\n", "row 2 of"),
        ("LAYER,P,R,F\n2,0.1,0.2,x\n", "row 2 of"),
        ("LAYER,P,R,F\n0,0.1,0.2,0.3\n", "has no layer 2; it has 0"),
        ("LAYER,P,R,F\n2,0.1,1,0.3\n", "has a value of 1 or more"),
    ],
)
def test_baselines_that_do_not_suit(
    folder: Path, tmp_path: Path, content: str | None, said: str
) -> None:
    path = tmp_path / "baseline.tsv"
    if content is not None:
        path.write_text(content)
    asked = config(folder, rescale_with_baseline=True, baseline=str(path))
    with pytest.raises(InputError, match=said):
        compute_extra_scores({"a": "the"}, {"a": ("the",)}, asked)


def test_tabs_separate_columns_too(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "baseline.tsv"
    path.write_text(tiny.BASELINE.replace(",", "\t"))
    settings = {"rescale_with_baseline": True}
    scores = [
        compute_extra_scores(
            tiny.HYPOTHESES, tiny.REFERENCES, config(folder, baseline=str(file), **settings)
        ).values
        for file in (path, folder / "baseline.tsv")
    ]
    assert scores[0] == scores[1]


@pytest.mark.parametrize("settings", [{"rescale_with_baseline": True}, {"baseline": "x.tsv"}])
def test_a_baseline_belongs_to_rescaling(folder: Path, settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="belong together"):
        config(folder, **settings)


@pytest.mark.proof
def test_the_package_itself_on_this_machine(folder: Path) -> None:
    """The live form, where bert-score is installed; with transformers 5 it reads BERT only."""
    bert_score = pytest.importorskip("bert_score")
    ids = [i for i in sorted(tiny.HYPOTHESES) if tiny.HYPOTHESES[i]]
    parts = bert_score.score(
        [tiny.HYPOTHESES[i] for i in ids],
        [list(tiny.REFERENCES[i]) for i in ids],
        model_type=str(folder / "bert"),
        num_layers=2,
        idf=True,
        batch_size=1,
        nthreads=0,
        lang="en",
        rescale_with_baseline=True,
        baseline_path=str(folder / "baseline.tsv"),
    )
    path = str(folder / "baseline.tsv")
    asked = config(folder, idf=True, rescale_with_baseline=True, baseline=path)
    found = compute_extra_scores(
        {i: tiny.HYPOTHESES[i] for i in ids}, {i: tiny.REFERENCES[i] for i in ids}, asked
    )
    own = [found.clip_scores["bertscore"][i] / 100 for i in ids]
    assert own == pytest.approx(parts[2].tolist(), abs=1e-5)
