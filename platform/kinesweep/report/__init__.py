"""The report: a sweep as one HTML page that needs no network, `report.json` and a picture.

`evidence.Report` is all that a page shows, in plain values; `ranking`, `search` and `curves` draw
it with Plotly and Optuna, `page` writes it down. Who reads a sweep's folder and fills a `Report` is
not this floor's business.
"""

from kinesweep.report.evidence import Curve, Picture, Report, Sample, Scores, Trial
from kinesweep.report.page import PAGE, write_report

__all__ = ["PAGE", "Curve", "Picture", "Report", "Sample", "Scores", "Trial", "write_report"]
