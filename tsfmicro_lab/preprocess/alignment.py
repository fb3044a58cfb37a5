"""Alignment: one similarity transform per clip, from the onset frame, for every frame.

A landmarker's points tremble from frame to frame by about as much as a micro-expression moves. Aligning every frame by
its own landmarks would add that tremble to the motion; aligning all by one transform adds nothing.
"""

from dataclasses import replace
from functools import partial

import cv2
import numpy as np
from jaxtyping import Float

from tsfmicro_lab.clips import Clip, ClipError, Frame, LazyFrames, Points, Truth
from tsfmicro_lab.preprocess.landmarks import FACE, POINT_INDEX, FaceNotFoundError, Landmarker, default_landmarker

Matrix = Float[np.ndarray, "2 3"]

#: Where the points that anchor the face go, (x, y) as a share of the output's side. An emotion does not move them, and
#: they say nothing of brows or mouth, whose places remain each face's own.
ANCHORS: dict[str, tuple[float, float]] = FACE["anchors"]


def estimate_alignment(landmarks: Points, size: int) -> Matrix:
    """Similarity (rotation, scale, shift) from the frame to an aligned square, with the eye corners in standard places.

    Raises:
        ValueError: The landmarks are not the named ones, not finite, or all in one place.

    Example:
        >>> points = np.zeros((30, 2), np.float32)
        >>> points[[6, 8, 10, 12]] = np.array(list(ANCHORS.values())) * 100 - 0.5
        >>> estimate_alignment(points, 100).round(3) + 0.0
        array([[1., 0., 0.],
               [0., 1., 0.]])
    """
    from skimage.transform import SimilarityTransform

    if np.shape(landmarks) != (len(POINT_INDEX), 2):
        raise ValueError(f"a face has {len(POINT_INDEX)} named landmarks (x, y), got {np.shape(landmarks)}")
    source = landmarks[[POINT_INDEX[name] for name in ANCHORS]].astype(np.float64)
    target = np.array(list(ANCHORS.values())) * size - 0.5
    if not np.isfinite(source).all() or np.ptp(source, axis=0).max() < 1:
        raise ValueError(f"the eye corners {source.round(1).tolist()} give no face to align: check the landmarks")
    return SimilarityTransform.from_estimate(source, target).params[:2]


def apply_alignment(image: Frame, matrix: Matrix, size: int) -> Frame:
    """Brings a frame into the aligned square (bicubic), with a low-pass filter where it shrinks."""
    scale = float(np.hypot(*matrix[:, 0]))
    if scale < 1:
        image = cv2.GaussianBlur(image, (0, 0), (1 / scale - 1) / 2, borderType=cv2.BORDER_REFLECT)
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def transform_points(points: Points, matrix: Matrix) -> Points:
    """Points of the frame in aligned pixels."""
    return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def onset_landmarks(clip: Clip, landmarker: Landmarker | None = None) -> Points:
    """Landmarks of the onset frame, pixels: the clip's own, else found on the image, by default by MediaPipe.

    Raises:
        ClipError: No face is found.
    """
    if clip.landmarks is not None:
        return clip.landmarks
    try:
        return (landmarker or default_landmarker())(clip.frame(clip.onset))
    except FaceNotFoundError as error:
        remedy = f"look at frame {clip.onset}, give landmarks, or leave the clip out"
        raise ClipError(f"clip {clip.id}: {error}; {remedy}") from error


def align_clip(clip: Clip, size: int = 224, landmarker: Landmarker | None = None) -> Clip:
    """The clip with every frame aligned by the transform of its onset frame, each when it is asked for.

    Landmarks and true motion move along. A clip without landmarks gets those of :func:`onset_landmarks`.

    Raises:
        ClipError: No face is found, or its eye corners make no sense.

    Example:
        >>> from tsfmicro_lab.data.synthetic import SyntheticMicroExpressions
        >>> clip = align_clip(SyntheticMicroExpressions(subjects=2, image_size=96)[0], 112)
        >>> (clip.landmarks[[POINT_INDEX[name] for name in ANCHORS]].mean(0) + 0.5).round().tolist()  # 0.5, 0.36 of 112
        [56.0, 40.0]
    """
    landmarks = onset_landmarks(clip, landmarker)
    try:
        matrix = estimate_alignment(landmarks, size)
    except ValueError as error:
        raise ClipError(f"clip {clip.id}: {error}") from error
    return align_with(replace(clip, landmarks=landmarks), matrix, size)


def resize_clip(clip: Clip, size: int) -> Clip:
    """The clip as it was filmed: the middle square of every frame, resized and not aligned."""
    height, width = clip.frame(clip.onset).shape[:2]
    scale = size / min(height, width)
    shift = (size - scale * np.array([width, height]) + scale - 1) / 2
    return align_with(clip, np.column_stack([scale * np.eye(2), shift]), size)


def align_with(clip: Clip, matrix: Matrix, size: int) -> Clip:
    """The clip with one transform applied to all its frames, its landmarks and its true motion."""
    frames = LazyFrames(lambda i: apply_alignment(clip.frame(i), matrix, size), range(len(clip.frames)))
    landmarks = None if clip.landmarks is None else transform_points(clip.landmarks, matrix)
    truth = clip.truth and Truth(partial(_aligned_truth, clip.truth, matrix, size))
    return replace(clip, frames=frames, landmarks=landmarks, truth=truth)


def _aligned_truth(truth: Truth, matrix: Matrix, size: int) -> dict[str, np.ndarray]:
    found = {"mesh": transform_points(truth.mesh, matrix)}
    for name in ("field", "expression"):
        turned = np.einsum("ij,jhw->hwi", matrix[:, :2], getattr(truth, name)).astype(np.float32)
        found[name] = np.moveaxis(cv2.warpAffine(turned, matrix, (size, size)), -1, 0)
    for name in ("moved", "visible"):
        found[name] = cv2.warpAffine(getattr(truth, name).astype(np.float32), matrix, (size, size)) >= 0.5
    return found
