"""A drawing of boxes and arrows, from the few lines of Mermaid that a page holds; it needs no script."""

import html
import re
from itertools import pairwise

#: Sizes in pixels: a character, a line of text, space inside a box, between boxes of a layer, between layers.
CHARACTER, LINE, PAD, BESIDE, BETWEEN = 6.9, 17, 10, 18, 44
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7a7a7a")

Arrows = list[tuple[str, str]]


def read(mermaid: str) -> tuple[dict[str, list[str]], dict[str, int], Arrows]:
    """The lines of each box of a flowchart, the number of its group, and its arrows."""
    labels: dict[str, list[str]] = {}
    group: dict[str, int] = {}
    arrows: Arrows = []
    groups = 0
    for line in mermaid.strip().splitlines()[1:]:
        groups += line.strip().startswith("subgraph")
        for name, label in re.findall(r'(\w+)\["(.*?)"\]', line):
            labels[name] = re.sub(r"</?b>", "", label).split("<br>")
            group[name] = groups
        if "-->" in line:
            arrows += pairwise(part.strip() for part in line.split("-->"))
    return labels, group, list(dict.fromkeys(arrows))


def layers(names: list[str], arrows: Arrows) -> list[list[str]]:
    """Each box one layer behind the last that points to it, and within a layer near those that do."""
    rank = dict.fromkeys(names, 0)
    for _ in names:
        for a, b in arrows:
            rank[b] = max(rank[b], rank[a] + 1)
    if max(rank.values()) >= len(names):
        raise ValueError("arrows of the drawing run in a circle")
    rows: list[list[str]] = [[n for n in names if rank[n] == r] for r in range(max(rank.values()) + 1)]
    place = {name: (i + 0.5) / len(row) for row in rows for i, name in enumerate(row)}
    for row in rows:
        before = {n: [place[a] for a, b in arrows if b == n] or [place[n]] for n in row}
        row.sort(key=lambda n: sum(before[n]) / len(before[n]))
        place |= {name: (i + 0.5) / len(row) for i, name in enumerate(row)}
    return rows


def svg(mermaid: str, title: str) -> str:
    """The drawing in the colours of the page around it."""
    labels, group, arrows = read(mermaid)
    size = {n: (max(map(len, t)) * CHARACTER + 2 * PAD, len(t) * LINE + PAD) for n, t in labels.items()}
    rows = layers(list(labels), arrows)
    room = [sum(size[n][0] + BESIDE for n in row) - BESIDE for row in rows]
    box: dict[str, tuple[float, float]] = {}
    y = 4.0
    for row, own in zip(rows, room, strict=True):
        x, deep = 4 + (max(room) - own) / 2, max(size[n][1] for n in row)
        for n in row:
            box[n] = (x, y + (deep - size[n][1]) / 2)
            x += size[n][0] + BESIDE
        y += deep + BETWEEN
    width, height = max(room) + 8, y - BETWEEN + 4
    parts = [_arrow(box[a], size[a], box[b], size[b]) for a, b in arrows]
    parts += [_box(*box[n], *size[n], labels[n], COLOURS[group[n] % len(COLOURS)]) for n in labels]
    return (
        f'<div class="drawing"><svg viewBox="0 0 {width:.0f} {height:.0f}" style="max-width:{width:.0f}px" role="img" '
        f'aria-label="{html.escape(title)}" xmlns="http://www.w3.org/2000/svg"><defs><marker id="tip" markerWidth="8" '
        'markerHeight="8" refX="7" refY="4" orient="auto"><path d="M0 0L8 4L0 8z" fill="currentColor"/></marker></defs>'
        f"{''.join(parts)}</svg></div>"
    )


def _box(x: float, y: float, w: float, h: float, lines: list[str], colour: str) -> str:
    texts = "".join(
        f'<text x="{x + w / 2:.0f}" y="{y + PAD / 2 + 13 + i * LINE:.0f}" text-anchor="middle" fill="currentColor" '
        f'font-size="12.5" font-weight="{400 if i else 700}">{html.escape(line)}</text>'
        for i, line in enumerate(lines)
    )
    return (
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{w:.0f}" height="{h:.0f}" rx="5" fill="{colour}" fill-opacity=".14" '
        f'stroke="{colour}"/>{texts}'
    )


def _arrow(a: tuple[float, float], of_a: tuple[float, float], b: tuple[float, float], of_b: tuple[float, float]) -> str:
    x0, y0, x1, y1 = a[0] + of_a[0] / 2, a[1] + of_a[1], b[0] + of_b[0] / 2, b[1]
    way = f"M{x0:.0f} {y0:.0f}C{x0:.0f} {(y0 + y1) / 2:.0f} {x1:.0f} {(y0 + y1) / 2:.0f} {x1:.0f} {y1:.0f}"
    return f'<path d="{way}" fill="none" stroke="currentColor" stroke-opacity=".45" marker-end="url(#tip)"/>'
