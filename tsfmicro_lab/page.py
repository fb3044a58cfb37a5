"""The HTML pages that the lab writes."""

import base64
import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure
from rich.console import Console

from tsfmicro_lab import __version__


@dataclass
class Page:
    """One HTML file that holds all that it shows and opens offline, filled step by step.

    Attributes:
        folder: Where the page goes; it is created.
        template: Name of the template, without its ending.
        name: Of the file, without its ending.
        console: Where progress is told.
        content: Values of the template.
        times: Seconds of each step.
    """

    folder: Path
    template: str
    name: str = "index"
    console: Console = field(default_factory=Console)
    content: dict[str, Any] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Tells what begins and measures how long it takes."""
        self.console.print(f"[bold]{title}[/]")
        began = time.perf_counter()
        yield
        self.times[title] = time.perf_counter() - began

    def picture(self, name: str, figure: Figure) -> None:
        """Saves a figure as a PNG and puts it into the page."""
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110)
        (self.folder / f"{name}.png").write_bytes(buffer.getvalue())
        self.content[name] = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()

    def chart(self, name: str, figure: Any, height: int = 420) -> None:
        """Puts an interactive plotly figure into the page."""
        figure.update_layout(height=height, margin={"t": 30, "b": 50, "l": 60, "r": 20})
        self.content[name] = figure.to_html(full_html=False, include_plotlyjs=False, div_id=name)

    def write(self) -> Path:
        """Writes the page."""
        from plotly.offline import get_plotlyjs

        loader = jinja2.PackageLoader("tsfmicro_lab", package_path="templates")
        template = jinja2.Environment(loader=loader, autoescape=True).get_template(f"{self.template}.html.jinja")
        path = self.folder / f"{self.name}.html"
        path.write_text(
            template.render(self.content, plotly=get_plotlyjs(), times=self.times, version=__version__),
            encoding="utf-8",
        )
        return path
