"""The report of a sweep: a self-contained HTML page, its data as `report.json`, and an image.

`report_data.SweepReport` contains everything that a page shows, as plain values. `ranking`,
`optuna_figures` and `curves` draw it with Plotly and Optuna, and `report_page` writes the files.
This package does not read sweep folders; `pipelines.sweeps.sweep_report` does and fills a
`SweepReport`.
"""

from kinesweep.report.report_data import (
    ClipImage,
    LearningCurve,
    SubsetScores,
    SweepReport,
    TranslationSample,
    TrialSummary,
)
from kinesweep.report.report_page import PAGE_FILE, write_report

__all__ = [
    "PAGE_FILE",
    "ClipImage",
    "LearningCurve",
    "SubsetScores",
    "SweepReport",
    "TranslationSample",
    "TrialSummary",
    "write_report",
]
