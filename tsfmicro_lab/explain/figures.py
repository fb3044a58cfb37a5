"""Pictures of clips and maps, drawn without a browser; every map of a figure shares one scale."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from tsfmicro_lab.clips import Clip, Field
from tsfmicro_lab.explain.attribution import Heat, WhereHow
from tsfmicro_lab.models.base import STREAMS
from tsfmicro_lab.preprocess import difference_frame, optical_flow

#: Orange for, purple against: told apart by colour-blind readers, and neither is skin.
DIVERGING = "PuOr_r"
#: Of what is written: it can be read on white and on black.
GREY = "#7A7A7A"
_SIGNED_ROOT = (lambda x: np.sign(x) * np.sqrt(np.abs(x)), lambda x: np.sign(x) * np.square(x))
MAP_LABEL = "attribution, square-root scale: orange for the class, purple against it"


class Picture(Figure):
    """A matplotlib figure that a notebook shows by itself, on a light page and on a dark one; without pyplot."""

    def _repr_png_(self) -> bytes:
        for part in self.findobj(Text):
            if isinstance(part, Text) and part.get_color() == "black":
                part.set_color(GREY)
        for axis in self.axes:
            axis.tick_params(colors=GREY)
            axis.spines[:].set_color(GREY)
        # A legend's box is light, and what is written in it grey. (`setp` takes a list, too.)
        mpl.artist.setp([own for a in self.axes if (own := a.get_legend())], frame_on=False)  # type: ignore[arg-type]
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=80, transparent=True)
        return buffer.getvalue()


def clips_figure(clips: Sequence[Clip], gain: float | None = None, flow: str = "dis") -> Picture:
    """Onset, apex, difference and motion of clips, one row each: the true motion where it is known, else optical flow.

    `gain` are the grey levels at which the difference is fully coloured; the largest 99.5th percentile by default.
    """
    motion_title = "true motion" if all(clip.truth for clip in clips) else "optical flow"
    figure, axes = picture_grid(len(clips), ("onset frame", "apex frame", "difference", motion_title))
    pairs = [(clip.frame(onset), clip.frame(apex)) for clip in clips for onset, apex in [clip.key_frames]]
    differences = [difference_frame(*pair).mean(-1) for pair in pairs]
    limit = gain or max(float(np.quantile(np.abs(d), 0.995)) for d in differences) or 1.0
    fields = [c.truth.field if c.truth else optical_flow(*pair, flow) for c, pair in zip(clips, pairs, strict=True)]
    longest = max(1e-6, *(float(np.hypot(*field).max()) for field in fields))
    for row, clip, (onset, apex), difference, field in zip(axes, clips, pairs, differences, fields, strict=True):
        row[0].imshow(onset)
        row[1].imshow(apex)
        signed = row[2].imshow(difference, cmap=DIVERGING, vmin=-limit, vmax=limit)
        motion = _motion(row[3], field, onset, longest)
        _outline(clip, row[3:])
        units = f"AU {' + '.join(clip.action_units)}" if clip.action_units else ""
        row[0].set_ylabel(f"{clip.emotion or clip.name}\n{units}", fontsize=11)
    colour_bar(figure, axes, np.s_[2:3], signed, "change of brightness, grey levels")
    colour_bar(figure, axes, np.s_[3:4], motion, "displacement, px")
    return figure


def where_how_figure(clips: Sequence[Clip], maps: Sequence[WhereHow], classes: Sequence[str]) -> Picture:
    """Maps of every input beside the difference and the truly moved region, one row per clip, one scale for all maps.

    Colours grow with the square root of the attribution, so that a weak map is pale but can be read. Maps of several
    frames are summed over them. Maps are stretched over the face of aligned clips.
    """
    names = list(maps[0]) if maps else []
    figure, axes = picture_grid(len(clips), ("onset frame", "difference", *map(stream_title, names)))
    limit = shared_limit(maps)
    for row, clip, attribution in zip(axes, clips, maps, strict=True):
        onset, apex = map(clip.frame, clip.key_frames)
        difference = difference_frame(onset, apex).mean(-1)
        bound = float(np.quantile(np.abs(difference), 0.995)) or 1.0
        row[0].imshow(onset)
        row[1].imshow(difference, cmap=DIVERGING, vmin=-bound, vmax=bound)
        for axis, name in zip(row[2:], names, strict=True):
            image = overlay_map(axis, onset, attribution[name], limit)
        _outline(clip, row[1:])
        name = f"truth: {clip.emotion}" if clip.emotion else clip.name
        row[0].set_ylabel(f"{name}\nexplained: {classes[attribution.target]}", fontsize=11)
    colour_bar(figure, axes, np.s_[2 if len(names) > 1 else 1 :], image, MAP_LABEL)
    return figure


def stream_title(name: str) -> str:
    """What a map is headed: `where: onset` and `how: difference`; of a frame, through what it acts; else the name."""
    frames = {"onset frame": "onset frame (both inputs)", "apex frame": "apex frame (difference)"}
    return f"{STREAMS[name]}: {name}" if name in STREAMS else frames.get(name, name)


def shared_limit(maps: Sequence[WhereHow]) -> float:
    """Value of full colour for maps that are to be compared: all but their strongest 0.05 % of pixels lie below it.

    Raises:
        ValueError: A map is not finite: it must not be drawn.
    """
    pooled = np.abs(np.concatenate([heat.ravel() for m in maps for heat in m.values()]))
    if not np.isfinite(pooled).all():
        raise ValueError("a map is not finite, so it is not drawn: check the sample and the model's weights for NaN")
    return float(np.quantile(pooled, 0.9995)) or float(pooled.max()) or 1.0


def overlay_map(axis: Axes, face: np.ndarray, heat: Heat, limit: float) -> mpl.image.AxesImage:
    """Draws a signed map over a pale face, `limit` in full colour; nothing is coloured where the map is zero."""
    heat = heat.reshape(-1, *heat.shape[-2:]).sum(0)
    _pale(axis, face)
    if not heat.any():
        axis.text(0.5, 0.5, "all zero", transform=axis.transAxes, ha="center", va="center")
    strength = np.sqrt(np.clip(np.abs(heat) / limit, 0, 1))
    norm = mpl.colors.FuncNorm(_SIGNED_ROOT, vmin=-limit, vmax=limit)
    extent = (-0.5, face.shape[1] - 0.5, face.shape[0] - 0.5, -0.5)
    return axis.imshow(heat, cmap=DIVERGING, norm=norm, alpha=strength, extent=extent, interpolation="nearest")


def _pale(axis: Axes, face: np.ndarray) -> None:
    axis.imshow(255 - (255 - face.mean(-1)) * 0.45, cmap="gray", vmin=0, vmax=255)


def _motion(axis: Axes, field: Field, face: np.ndarray, longest: float) -> mpl.image.AxesImage:
    _pale(axis, face)
    length = np.hypot(*field)
    image = axis.imshow(length, cmap="viridis", vmin=0, vmax=longest, alpha=np.clip(length / longest, 0, 1))
    step = max(len(length) // 20, 1)
    at = np.arange(step // 2, len(length), step)
    scale = 0.35 * longest / step
    axis.quiver(at, at, *field[:, at[:, None], at], angles="xy", scale_units="xy", scale=scale, width=0.005)
    return image


def _outline(clip: Clip, axes: np.ndarray) -> None:
    """Draws where the face truly moved, if that is known."""
    for axis in axes:
        if clip.truth:
            axis.contour(clip.truth.moved, [0.5], colors="black", linewidths=1.0)


def picture_grid(rows: int, titles: Sequence[str], side: float = 2.6) -> tuple[Picture, np.ndarray]:
    """A grid of pictures with a thin row for the colour bars below."""
    if not rows:
        raise ValueError("there is no clip to draw")
    figure = Picture(figsize=(side * len(titles), side * rows + 0.9), layout="constrained")
    axes = figure.subplots(rows + 1, len(titles), squeeze=False, height_ratios=[1] * rows + [0.05])
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[], frame_on=False)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=11)
    return figure, axes[:-1]


def colour_bar(figure: Figure, axes: np.ndarray, columns: slice, image: Any, label: str) -> None:
    """A colour bar below some columns, in solid colours whatever transparency the last map had."""
    bar = figure.add_subplot(axes[0, 0].get_gridspec()[-1, columns])
    solid, ticks = mpl.cm.ScalarMappable(image.norm, image.cmap), image.norm.inverse(np.linspace(0, 1, 5))
    figure.colorbar(solid, cax=bar, orientation="horizontal", ticks=ticks, format="%.2g").set_label(label)
