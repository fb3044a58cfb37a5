"""Key frames: how strong the expression is over time, and the apex where nobody annotated one."""

from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Float

from tsfmicro_lab.clips import Clip, Frame


def difference_frame(onset: Frame, apex: Frame) -> Float[np.ndarray, "_ _ 3"]:
    """Signed difference apex - onset, in grey levels from -255 to 255; exactly zero for identical frames.

    Args:
        onset: RGB frame.
        apex: RGB frame of the same size.

    Raises:
        ValueError: The sizes differ.

    Example:
        >>> grey = np.full((2, 2, 3), 7, np.uint8)
        >>> difference_frame(grey, grey + 1).max()
        np.float32(1.0)
    """
    if onset.shape != apex.shape:
        raise ValueError(f"onset {onset.shape} and apex {apex.shape} must have one size: align the clip first")
    return apex.astype(np.float32) - onset.astype(np.float32)


def intensity_curve(clip: Clip) -> Float[np.ndarray, " frames"]:
    """How far each frame is from the onset: mean absolute difference of smoothed, equally bright grey frames.

    Smoothing takes camera noise out, dividing by the mean brightness takes flicker out. Head drift stays in.

    Args:
        clip: An aligned clip, or any clip whose head holds still.

    Returns:
        One value per frame, grey levels; 0 at the onset.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions
        >>> clip = SyntheticMicroExpressions(1, 1, image_size=64)[0]
        >>> curve = intensity_curve(clip)
        >>> len(curve) == len(clip.frames), float(curve[clip.onset])
        (True, 0.0)
    """
    onset = comparable(clip.frame(clip.onset))
    levels = [np.abs(comparable(clip.frame(i)) - onset).mean() for i in range(len(clip.frames))]
    return np.array(levels, np.float32)


def spot_apex(clip: Clip) -> int:
    """Index of the frame that is farthest from the onset, between onset and offset.

    Args:
        clip: An aligned clip.

    Returns:
        The spotted apex. Compare with an annotated one before you trust it: a head that drifts or a blink can outweigh
        the expression. On 40 rendered clips of 128 px with all distractors the median error was 10 frames (0.05 s).

    Example:
        >>> from tsfmicro_lab.data import Distractors, SyntheticMicroExpressions
        >>> clip = SyntheticMicroExpressions(1, 1, image_size=64, distractors=Distractors.none())[0]
        >>> abs(spot_apex(clip) - clip.apex) <= 3
        True
    """
    curve = intensity_curve(clip)[clip.onset : clip.offset + 1]
    smooth = cv2.GaussianBlur(curve[:, None], (1, 0), 1, sigmaY=1.5)[:, 0] if len(curve) > 3 else curve
    return clip.onset + int(np.argmax(smooth))


def with_apex(clip: Clip) -> Clip:
    """The clip itself if its apex is annotated, else with the spotted one.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions
        >>> clip = SyntheticMicroExpressions(1, 1, image_size=64)[0]
        >>> with_apex(clip) is clip, with_apex(replace(clip, apex=None)).apex is None
        (True, False)
    """
    return clip if clip.apex is not None else replace(clip, apex=spot_apex(clip))


def comparable(image: Frame) -> Float[np.ndarray, "_ _"]:
    """Grey frame without camera noise and flicker: smoothed, and brought to a mean brightness of 128.

    Args:
        image: An aligned RGB frame.

    Example:
        >>> round(float(comparable(np.full((50, 50, 3), 90, np.uint8)).mean()))
        128
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    smooth = cv2.GaussianBlur(grey, (0, 0), max(image.shape[0] / 100, 0.5))
    return np.asarray(smooth * (128 / max(float(grey.mean()), 1.0)), np.float32)


def strongest_pair(clip: Clip, share: float = 0.15) -> tuple[int, int]:
    """The pair of frames near onset and apex that differs most, as the public TSFmicro code seeks it for training.

    Of onset + i and apex - j, with i and j up to share · (apex - onset) / 4, the pair with the largest Euclidean
    distance of its pixels. The public code reads and compares them for every sample of every epoch; the answer is
    always the same.

    Args:
        clip: An aligned clip with an apex.
        share: Of the way from onset to apex; the public code has 0.15 for CASME II.

    Returns:
        Indices of both frames.

    Example:
        >>> from tsfmicro_lab.data import SyntheticMicroExpressions
        >>> clip = SyntheticMicroExpressions(1, 1, image_size=64)[0]
        >>> onset, apex = strongest_pair(clip)
        >>> clip.onset <= onset < apex <= clip.apex
        True
    """
    onset, apex = clip.key_frames
    reach = int(share * (apex - onset) / 4)
    early, late = range(onset, onset + reach + 1), range(apex - reach, apex + 1)
    first, last = (np.stack([clip.frame(i).astype(np.float32).ravel() for i in near]) for near in (early, late))
    distance = np.linalg.norm(first[:, None] - last[None], axis=-1)
    i, j = divmod(int(distance.argmax()), reach + 1)
    return early[i], late[j]
