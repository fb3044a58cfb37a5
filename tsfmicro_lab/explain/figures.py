"""Pictures of clips and maps, drawn without a browser; every map of a figure shares one scale."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tsfmicro_lab.clips import Clip
from tsfmicro_lab.explain.attribution import Heat, WhereHow
from tsfmicro_lab.preprocess import difference_frame

#: Orange for, purple against: told apart by colour-blind readers, and neither is skin.
DIVERGING = "PuOr_r"


def clips_figure(clips: Sequence[Clip], gain: float | None = None) -> Figure:
    """Onset, apex, difference and true motion of rendered clips, one row each.

    Args:
        clips: Clips with known truth and apex.
        gain: Grey levels at which the difference is fully coloured; the largest 99.5th percentile by default.

    Returns:
        A matplotlib figure.
    """
    figure, axes = _grid(len(clips), ("onset frame", "apex frame", "difference", "true motion, pixels"))
    pairs = [(clip.frame(clip.onset), clip.frame(_apex(clip))) for clip in clips]
    differences = [difference_frame(*pair).mean(-1) for pair in pairs]
    limit = gain or max(float(np.quantile(np.abs(d), 0.995)) for d in differences) or 1.0
    longest = max(float(np.hypot(*clip.truth.field).max()) for clip in clips if clip.truth)
    for row, clip, (onset, apex), difference in zip(axes, clips, pairs, differences, strict=True):
        row[0].imshow(onset)
        row[1].imshow(apex)
        signed = row[2].imshow(difference, cmap=DIVERGING, vmin=-limit, vmax=limit)
        motion = _motion(row[3], clip, onset, longest)
        row[0].set_ylabel(f"{clip.emotion or 'no label'}\nAU {' + '.join(clip.action_units)}", fontsize=11)
    _scale(figure, axes[:, 2], signed, "brighter → orange, grey levels")
    _scale(figure, axes[:, 3], motion, "displacement, px")
    return figure


def where_how_figure(clips: Sequence[Clip], maps: Sequence[WhereHow], classes: Sequence[str]) -> Figure:
    """Where and how maps beside the difference and the truly moved region, one row per clip, one scale for all maps.

    Args:
        clips: Aligned clips.
        maps: Attribution of each, same size as the aligned frames.
        classes: Names of the classes.

    Returns:
        A matplotlib figure.
    """
    figure, axes = _grid(len(clips), ("onset frame", "difference", "where: onset", "how: difference"))
    limit = max(float(np.quantile(np.abs(h), 0.998)) for m in maps for h in (m.where, m.how)) or 1.0
    for row, clip, attribution in zip(axes, clips, maps, strict=True):
        onset, apex = clip.frame(clip.onset), clip.frame(_apex(clip))
        difference = difference_frame(onset, apex).mean(-1)
        bound = float(np.quantile(np.abs(difference), 0.995)) or 1.0
        row[0].imshow(onset)
        row[1].imshow(difference, cmap=DIVERGING, vmin=-bound, vmax=bound)
        overlay_map(row[2], onset, attribution.where, limit)
        heat = overlay_map(row[3], onset, attribution.how, limit)
        if clip.truth:
            for axis in row[1:]:
                axis.contour(clip.truth.moved, [0.5], colors="black", linewidths=1.0)
        verdict = classes[attribution.target]
        row[0].set_ylabel(f"truth: {clip.emotion}\nexplained: {verdict}", fontsize=11)
    _scale(figure, axes[:, 2:], heat, "attribution to the explained class (all maps, one scale)")
    return figure


def overlay_map(axis: Axes, face: np.ndarray, heat: Heat, limit: float) -> mpl.image.AxesImage:
    """Draws a signed map over a pale face; nothing is coloured where the map is zero.

    Args:
        axis: Where to draw.
        face: RGB frame.
        heat: The map.
        limit: Value of full colour, the same for all maps that are to be compared.
    """
    axis.imshow(255 - (255 - face.mean(-1)) * 0.45, cmap="gray", vmin=0, vmax=255)
    strength = np.clip(np.abs(heat) / limit, 0, 1) ** 0.7
    return axis.imshow(heat, cmap=DIVERGING, vmin=-limit, vmax=limit, alpha=strength)


def _motion(axis: Axes, clip: Clip, face: np.ndarray, longest: float) -> mpl.image.AxesImage:
    axis.imshow(255 - (255 - face.mean(-1)) * 0.45, cmap="gray", vmin=0, vmax=255)
    assert clip.truth is not None
    dx, dy = clip.truth.field
    length = np.hypot(dx, dy)
    image = axis.imshow(length, cmap="viridis", vmin=0, vmax=longest, alpha=np.clip(length / longest, 0, 1))
    step = max(len(dx) // 20, 1)
    spots = np.s_[step // 2 :: step, step // 2 :: step]
    y, x = np.mgrid[: len(dx), : len(dx)]
    scale = 0.35 * longest / step
    axis.quiver(x[spots], y[spots], dx[spots], dy[spots], angles="xy", scale_units="xy", scale=scale, width=0.005)
    axis.contour(clip.truth.moved, [0.5], colors="black", linewidths=1.0)
    return image


def _apex(clip: Clip) -> int:
    if clip.apex is None:
        raise ValueError(f"clip {clip.id} has no apex: call preprocess.with_apex first")
    return clip.apex


def _grid(rows: int, titles: Sequence[str]) -> tuple[Figure, np.ndarray]:
    if not rows:
        raise ValueError("there is no clip to draw")
    figure = Figure(figsize=(2.6 * len(titles), 2.65 * rows + 0.5), layout="constrained")
    axes = np.asarray(figure.subplots(rows, len(titles), squeeze=False))
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        for edge in axis.spines.values():
            edge.set_visible(False)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=11)
    return figure, axes


def _scale(figure: Figure, axes: np.ndarray, image: mpl.image.AxesImage, label: str) -> None:
    # Solid colours in the bar, whatever transparency the last map had.
    solid = mpl.cm.ScalarMappable(image.norm, image.cmap)
    figure.colorbar(solid, ax=list(axes.flat), location="bottom", fraction=0.03, pad=0.01, aspect=30).set_label(label)
