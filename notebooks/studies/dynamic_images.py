"""A clip as one picture: dynamic images by approximate rank pooling, in the order of time or of motion strength.

Bilen, Fernando, Gavves, Vedaldi, Gould, "Dynamic Image Networks for Action Recognition", CVPR 2016; the weights are
those of its public code (hbilen/dynamic-image-nets). To pool frames in the order of motion strength is an idea of Man
et al. (arXiv 2510.09730), of which the abstract was read: how they measure motion is not known here.

Importing this module makes three more tensors known to `prepare`.
"""

import numpy as np
from jaxtyping import Float

from tsfmicro_lab.clips import Clip, ClipError
from tsfmicro_lab.data.tensors import PREPARED, Prepared
from tsfmicro_lab.preprocess.keyframes import FRAMES


def rank_weights(count: int, running_mean: bool = True) -> Float[np.ndarray, " count"]:
    r"""Weights of approximate rank pooling, by which frames in their order are summed up; they sum to 0.

    .. math:: a_i = \sum_{t=i}^{N} \frac{2t - N - 1}{t} = 2(N - i + 1) - (N + 1)(H_N - H_{i-1})

    with harmonic numbers H; without the running mean over frames, :math:`a_i = 2i - N - 1`.

    Example:
        >>> rank_weights(5).round(1), rank_weights(5, running_mean=False)
        (array([-3.7,  0.3,  1.3,  1.3,  0.8]), array([-4., -2.,  0.,  2.,  4.]))
    """
    i = np.arange(1.0, count + 1)
    if not running_mean:
        return 2 * i - count - 1
    return 2 * (count - i + 1) - (count + 1) * np.cumsum(1 / i[::-1])[::-1]


def whole_clip(clip: Clip) -> Float[np.ndarray, "frames height width 3"]:
    """The frames from onset to offset.

    Raises:
        ClipError: There is one only.
    """
    if clip.offset <= clip.onset:
        raise ClipError(
            f"clip {clip.id} has one frame from onset to offset where a sequence is needed: correct that, or leave it"
        )
    return np.stack([clip.frame(i) for i in range(clip.onset, clip.offset + 1)]).astype(np.float32)


def dynamic_image(
    clip: Clip, order: str = "time", running_mean: bool = True, stretched: bool = False
) -> Float[np.ndarray, "height width 3"]:
    """Frames from onset to offset pooled to one signed picture: late ones less early ones, in grey levels.

    Args:
        clip: Aligned.
        order: Of the frames: that of `time`, or of `motion`, by their mean absolute difference from the onset frame.
        running_mean: As of :func:`rank_weights`.
        stretched: Whether the picture is stretched to 0..255, as it is usually stored: that throws its strength away.

    Raises:
        ClipError: The clip has one frame only.

    Example:
        >>> rise_and_fall = [np.full((2, 2, 3), 9 * v, np.uint8) for v in (0, 1, 2, 1, 0)]
        >>> clip = Clip("EP01", "sub01", rise_and_fall, 0, 2, 4)
        >>> [round(abs(float(dynamic_image(clip, order, False).mean())), 1) for order in ("time", "motion")]
        [0.0, 15.0]
    """
    frames = whole_clip(clip)
    if order == "motion":
        frames = frames[np.argsort(np.abs(frames - frames[0]).mean((1, 2, 3)), kind="stable")]
    weights = rank_weights(len(frames), running_mean)
    picture = np.tensordot(2 * weights / np.abs(weights).sum(), frames - frames[0], 1)  # still frames give exactly 0
    if stretched:
        picture = 255 * (picture - picture.min()) / max(float(np.ptp(picture)), 1e-6)
    return picture.astype(np.float32)


def _evenly(clip: Clip) -> np.ndarray:
    frames = whole_clip(clip)
    return frames[np.linspace(0, len(frames) - 1, FRAMES).round().astype(int)].transpose(0, 3, 1, 2)


#: Names of the two pictures, and of some frames of the whole clip.
PICTURES, WHOLE = ("dynamic_time", "dynamic_motion"), "frames"
PREPARED[PICTURES[0]] = Prepared("signed", lambda s: dynamic_image(s.aligned).transpose(2, 0, 1))
PREPARED[PICTURES[1]] = Prepared("signed", lambda s: dynamic_image(s.aligned, "motion").transpose(2, 0, 1))
PREPARED[WHOLE] = Prepared("image", lambda s: _evenly(s.aligned), (FRAMES,))
