"""Write `expected.json`: the scores of nlg-metricverse 0.9.9 and pycocoevalcap 1.2.

They run in an environment of their own, with Java for Stanford's tokenizer:
`pip install --no-deps nlg-metricverse==0.9.9 pycocoevalcap==1.2 rouge-score==0.1.2` beside
evaluate, pandas and nltk; then `python tests/golden/captions/generate.py FILE`, where FILE is
`nmt/scripts/bleu.py` of tensorflow/nmt, which nlg-metricverse would download. Its `rouge` draws
random resamples; the number here is the mean that they scatter around.
"""

import importlib.util
import json
import sys
import types
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from texts import HYPOTHESES, REFERENCES  # type: ignore[import-not-found]  # noqa: E402


def load_planets() -> tuple[type, type, type]:
    """Import three metrics without the package's own imports, which load models of all others."""
    root = Path(next(str(Path(p) / "nlgmetricverse") for p in sys.path if _holds(p)))
    for name in ("nlgmetricverse", "nlgmetricverse.metrics"):
        module = types.ModuleType(name)
        module.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = module
    core = importlib.import_module("nlgmetricverse.metrics._core")
    for key in (key for key in dir(core) if not key.startswith("__")):
        setattr(sys.modules["nlgmetricverse.metrics"], key, getattr(core, key))
    metrics = "nlgmetricverse.metrics"
    return (
        importlib.import_module(f"{metrics}.bleu.bleu_planet").BleuPlanet,
        importlib.import_module(f"{metrics}.rouge.rouge_planet").RougePlanet,
        importlib.import_module(f"{metrics}.cider.cider_planet").CiderPlanet,
    )


def _holds(folder: str) -> bool:
    return (Path(folder) / "nlgmetricverse").is_dir()


def score_nlg_metricverse(bleu_script: Path) -> dict[str, float]:
    bleu, _, cider = load_planets()
    spec = importlib.util.spec_from_file_location("nmt_bleu", bleu_script)
    nmt_bleu = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(nmt_bleu)
    bleu._download_and_prepare = lambda *_: None
    bleu._get_external_resource = lambda *_, **__: nmt_bleu.compute_bleu
    ids = sorted(HYPOTHESES)
    texts, references = [HYPOTHESES[i] for i in ids], [list(REFERENCES[i]) for i in ids]
    scores = {}
    # `_compute`, because `compute` casts texts by features that recent versions of datasets reject.
    for order in (1, 2, 3, 4):
        metric = bleu(resulting_name="bleu", compute_kwargs={"max_order": order})
        found = metric._compute(predictions=texts, references=references)
        scores[f"bleu{order}"] = found["bleu"]["score"]
    metric = cider(resulting_name="cider")
    scores["cider"] = metric._compute(predictions=texts, references=references)["cider"]["score"]
    return scores


def score_rouge() -> dict[str, float]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"])
    means, bests = [], []
    for clip_id, text in HYPOTHESES.items():
        found = [
            scorer.score(target=reference, prediction=text)["rougeL"].fmeasure
            for reference in REFERENCES[clip_id]
        ]
        means.append(sum(found) / len(found))
        bests.append(max(found))
    return {"rouge_mean": sum(means) / len(means), "rouge_max": sum(bests) / len(bests)}


def score_coco() -> tuple[dict[str, float], dict[str, list[str]]]:
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    tokenizer = PTBTokenizer()
    texts = tokenizer.tokenize({i: [{"caption": t}] for i, t in HYPOTHESES.items()})
    references = tokenizer.tokenize(
        {i: [{"caption": t} for t in some] for i, some in REFERENCES.items()}
    )
    bleu = Bleu(4).compute_score(references, texts, verbose=0)[0]
    scores = {f"bleu{order}": float(value) for order, value in enumerate(bleu, start=1)}
    scores["rouge_l"] = float(Rouge().compute_score(references, texts)[0])
    scores["cider"] = float(Cider().compute_score(references, texts)[0])
    return scores, {i: [*texts[i], *references[i]] for i in texts}


def main(bleu_script: Path) -> None:
    coco, tokens = score_coco()
    nlg = score_nlg_metricverse(bleu_script) | score_rouge()
    found = {"coco_caption": coco, "nlg_metricverse": nlg, "treebank_words": tokens}
    text = json.dumps(found, indent=1, ensure_ascii=False)
    (HERE / "expected.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
