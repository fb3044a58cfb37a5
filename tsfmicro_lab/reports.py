"""Reports: one HTML page about a demo, a run or a video, that holds all it shows and opens offline."""

import base64
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import plotly.express as px
import plotly.graph_objects as go

from tsfmicro_lab import __version__
from tsfmicro_lab.analyze import Analysis, unknown_spans
from tsfmicro_lab.data.samples import Samples
from tsfmicro_lab.explain.charts import TEMPLATE, confusion_chart, folds_chart, reliability_chart
from tsfmicro_lab.explain.figures import clips_figure, where_how_figure
from tsfmicro_lab.files import write_text
from tsfmicro_lab.preprocess.spotting import threshold
from tsfmicro_lab.provenance import environment
from tsfmicro_lab.results import Result, explain_clip
from tsfmicro_lab.training.metrics import calibration, class_table
from tsfmicro_lab.training.protocols import LEAKY
from tsfmicro_lab.training.statistics import card_scores


class Report:
    """An HTML page: the sentences are those of a template, `demo`, `run` or `analysis`; what is found goes into them.

    The folder of the page is created, and gets each figure as a PNG file as well.

    Example:
        >>> import tempfile
        >>> report = Report(Path(tempfile.mkdtemp()) / "index.html", "run")
        >>> _ = report.put(title="<late>", facts={}, scores=pd.DataFrame({"UF1": [0.5]}))
        >>> page = report.write().read_text(encoding="utf-8")
        >>> "<h1>&lt;late&gt;</h1>" in page, "<td>0.500</td>" in page
        (True, True)
    """

    def __init__(self, path: Path | str, template: str) -> None:
        self.path, self.template = Path(path), template
        self.content: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}
        self.path.parent.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def section(self, title: str) -> Iterator[None]:
        """Prints what begins and, at its end, how long it took."""
        print(title, flush=True)
        began = time.perf_counter()
        yield
        self.seconds[title] = time.perf_counter() - began
        print(f"  {self.seconds[title]:.0f} s", flush=True)

    def put(self, **values: Any) -> "Report":
        """Puts texts, tables and figures of matplotlib and plotly into the page, which it returns; markup is shown."""
        for name, value in values.items():
            if isinstance(value, pd.DataFrame):
                value = value.to_html(index=False, border=0, na_rep="", float_format="{:.3f}".format, justify="inherit")
            elif hasattr(value, "savefig"):
                file = self.path.with_name(f"{name}.png")
                value.savefig(file, dpi=110)
                value = "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()
            elif hasattr(value, "to_html"):
                value.update_layout(height=value.layout.height or 420, margin={"t": 30, "b": 50, "l": 60, "r": 20})
                value = value.to_html(full_html=False, include_plotlyjs=False, div_id=name)
            self.content[name] = value
        return self

    def write(self) -> Path:
        """Writes the page and gives its path."""
        from plotly.offline import get_plotlyjs

        loader = jinja2.PackageLoader("tsfmicro_lab", package_path="templates")
        template = jinja2.Environment(loader=loader, autoescape=True).get_template(f"{self.template}.html.jinja")
        shared = {"plotly": get_plotlyjs(), "seconds": self.seconds, "version": __version__}
        write_text(self.path, template.render(self.content, **shared, **environment()))
        return self.path


def run_report(result: Result, samples: Samples | None = None) -> Path:
    """Writes a page about a run: its scores, who is hard, what is taken for what, and the surest mistakes.

    Args:
        result: The run, which `report.html` goes beside.
        samples: Its clips, to show those that were missed. Faces of licensed recordings would then be in the page.
    """
    report = Report(result.folder / "report.html", "run")
    table, run = result.predictions, result.about.get("run", {})
    known = {name: run[name] for name in ("preset", "selection", "seed", "recipe") if name in run}
    facts = {"model": table.model.iloc[0]} | known | ({"selection": LEAKY} if result.leaky else {})
    facts |= {"data": result.about.get("data", "unknown"), "clips": len(table), "subjects": table.subject.nunique()}
    scores = card_scores(table, result.classes).rename(columns={"what": ""})
    missed = result.missed.drop(columns=["model", "seed", "selection", "candidate", "fold"], errors="ignore")
    report.put(title=result.name, leaky=result.leaky, facts=facts, scores=scores, missed=missed)
    report.put(classes=class_table(table, result.classes))
    if not result.units:
        report.put(folds=folds_chart(table, result.classes), confusion=confusion_chart(table, result.classes))
        if table.columns.str.startswith("p_").any():
            bins, error = calibration(table)
            report.put(calibration_error=error, reliability=reliability_chart(bins))
    if samples is not None:
        pairs = [explain_clip(result, samples, row) for _, row in result.missed.head(4).iterrows()]
        if shown := [(clip, maps) for clip, maps in pairs if maps is not None]:
            report.put(maps=where_how_figure([c for c, _ in shown], [m for _, m in shown], result.classes))
    return report.write()


def analysis_report(found: Analysis, folder: Path | str, trained_on: str = "") -> Path:
    """Writes what was found in a video as a page, `index.html`, and its moments as a table.

    The page shows the face of who was recorded: handle it as you would the recording. `trained_on` says in a few words
    what the model was trained on.
    """
    report = Report(Path(folder) / "index.html", "analysis")
    write_text(report.path.with_name("moments.csv"), found.table.to_csv(index=False))
    report.put(found=found, trained_on=trained_on, curve=curve_chart(found).update_layout(height=340))
    units = {"onset": "s", "apex": "s", "offset": "s", "duration": "ms", "head": "px"}
    named = found.table.rename(columns={name: f"{name}, {unit}" for name, unit in units.items()})
    report.put(moments=named.round({"duration, ms": 0}).astype({"duration, ms": int}))
    if found.clips:
        report.put(clips=clips_figure(found.clips))
    if found.maps:
        report.put(maps=where_how_figure(found.clips, found.maps, found.classes))
    return report.write()


def curve_chart(found: Analysis) -> go.Figure:
    """The curve that moments were spotted on, with its threshold; grey where nothing can be said."""
    trace, labels = found.trace, {"x": "seconds", "y": "change, grey levels"}
    step = -(-len(trace.curve) // 4000)  # so many points are drawn at most: the highest of each group
    highest = pd.Series(trace.curve).groupby(lambda frame: frame // step).max()
    figure = px.line(x=trace.times[::step], y=highest, labels=labels, template=TEMPLATE)
    figure.update_traces(line={"color": "grey", "width": 1})
    if highest.notna().any():
        dotted = {"color": "#D55E00", "dash": "dot"}
        figure.add_hline(threshold(trace, found.strictness), line=dotted, annotation_text="threshold")
    for row in found.table.itertuples():
        figure.add_vrect(row.onset, row.offset, fillcolor="#E69F00", opacity=0.35, line_width=0)
        figure.add_vline(row.apex, line={"color": "#0072B2", "width": 1})
    for first, last in unknown_spans(trace):
        figure.add_vrect(first, last, fillcolor="#999999", opacity=0.25, line_width=0)
    return figure.update_yaxes(rangemode="tozero")
