"""Whether each link of a built site leads somewhere in its folder, and whether a page asks a network for anything."""

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: What a browser fetches without being asked; an anchor's href is followed only by a reader.
FETCHED = {("img", "src"), ("script", "src"), ("link", "href"), ("iframe", "src"), ("source", "src"), ("video", "src")}


class Page(HTMLParser):
    """Anchors and links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = {""}
        self.links: list[tuple[str, str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keeps what a tag names and where it leads."""
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            if name in ("href", "src") and value and (tag, name) != ("link", "canonical"):
                self.links.append((tag, name, value))


@cache
def read(path: Path) -> Page:
    """A page, read once."""
    return Page(path.read_text("utf-8"))


def wrong(site: Path) -> list[str]:
    """One line for each link that leads nowhere, and for each thing that would be fetched from elsewhere."""
    found, site = [], site.resolve()
    for path in sorted(site.rglob("*.html")):
        for tag, name, value in read(path).links:
            parts = urlsplit(value)
            if parts.scheme or parts.netloc:
                if (tag, name) in FETCHED and parts.scheme != "data":
                    found.append(f"{path.relative_to(site)} fetches {value}")
                continue
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if there.is_dir():
                there /= "index.html"
            if not there.is_relative_to(site) or not there.exists():
                found.append(f"{path.relative_to(site)} links to {value}, which is not there")
            elif there.suffix == ".html" and unquote(parts.fragment) not in read(there).anchors:
                found.append(f"{path.relative_to(site)} links to {value}, which has no such place")
    for path in sorted(site.rglob("*.css")):
        text = path.read_text("utf-8")
        found += [f"{path.relative_to(site)} fetches {url}" for url in re.findall(r"url\([\"']?(https?:[^)]+)\)", text)]
    return found


def lists_apart(text: str) -> str:
    """A text with a blank line before each list, which this Markdown needs and that of Jupyter and GitHub does not."""
    lines: list[str] = []
    fenced = False
    for line in text.split("\n"):
        fenced ^= line.startswith("```")
        before = lines[-1] if lines else ""
        if re.match(r"([-*]|1\.) ", line) and not fenced and before and not re.match(r"\s|([-*]|\d+\.) ", before):
            lines.append("")
        lines.append(line)
    return "\n".join(lines)
