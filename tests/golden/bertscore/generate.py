"""Write `expected.json`: the scores of the package bert-score 0.3.13 on tiny models.

Its tokenization of byte-level models and of empty texts needs transformers 4, so it runs in an
environment of its own: `pip install bert-score==0.3.13 transformers==4.57.6`, then
`python tests/golden/bertscore/generate.py`. `build` in `tiny.py` runs with any version.
"""

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import tiny  # type: ignore[import-not-found]


def main() -> None:
    import bert_score  # type: ignore[import-not-found]

    ids = sorted(tiny.HYPOTHESES)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for case in tiny.CASES:
            model = tiny.build(Path(folder) / tiny.name_of(case), case.kind)
            baseline = Path(folder) / "baseline.tsv"
            baseline.write_text(tiny.BASELINE, encoding="utf-8")
            parts = bert_score.score(
                [tiny.HYPOTHESES[i] for i in ids],
                [list(tiny.REFERENCES[i]) for i in ids],
                model_type=model,
                num_layers=case.layer,
                idf=case.idf,
                # Without padding: a negative best match would be replaced by a padded 0.
                batch_size=1,
                nthreads=0,
                lang="en",
                rescale_with_baseline=case.rescale,
                baseline_path=str(baseline),
            )
            found[tiny.name_of(case)] = [[float(value) for value in part] for part in parts]
    path = Path(__file__).parent / "expected.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
