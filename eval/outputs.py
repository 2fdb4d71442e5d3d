"""The files of an experiment: result, tables, plots, report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lsr.eval.charts import all_charts
from lsr.eval.experiment import Experiment
from lsr.eval.html_report import html_report
from lsr.eval.published import PublishedRow
from lsr.eval.record import write_record
from lsr.eval.tables import all_tables, as_latex, as_markdown
from lsr.whole_file import whole_file


def write_outputs(
    experiment: Experiment, published: Sequence[PublishedRow], folder: Path | None, report: Path | None
) -> list[Path]:
    """Write what was asked for and return the files: all of it into `folder`, the HTML report to `report`."""
    if folder is None and report is None:
        return []
    differences = experiment.differences()
    written = []
    if folder is not None:
        tables = all_tables(experiment, differences, published)
        write_record(folder / "result.json", experiment, differences, published)
        _write(folder / "tables.md", "\n".join(as_markdown(table) for table in tables))
        _write(folder / "tables.tex", "\n".join(as_latex(table) for table in tables))
        written += [folder / name for name in ("result.json", "tables.md", "tables.tex")]
        for chart in all_charts(experiment):
            path = folder / "plots" / f"{chart.name}.svg"
            _write(path, chart.standalone())
            written.append(path)
    page = html_report(experiment, differences, published)
    places = [folder / "report.html"] if folder else []
    for path in [*places, *([report] if report else [])]:
        _write(path, page)
        written.append(path)
    return written


def _write(path: Path, text: str) -> None:
    with whole_file(path, f"The report {path}", folders=True) as file:
        file.write(text)
