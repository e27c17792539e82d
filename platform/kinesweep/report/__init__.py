"""The report of a sweep: a self-contained HTML page, its data as `report.json`, and an image.

`report_data.Report` contains everything that a page shows, as plain values. `ranking`, `search` and
`curves` draw it with Plotly and Optuna, and `page` writes the files. This package does not read
sweep folders; `cli.reporting` does and fills a `Report`.
"""

from kinesweep.report.page import PAGE, write_report
from kinesweep.report.report_data import Curve, Picture, Report, Sample, Scores, Trial

__all__ = ["PAGE", "Curve", "Picture", "Report", "Sample", "Scores", "Trial", "write_report"]
