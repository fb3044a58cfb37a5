"""From a clip as it was recorded to frames that can be compared: landmarks, alignment, key frames, difference."""

from tsfmicro_lab.preprocess.alignment import align_clip, apply_alignment, estimate_alignment, onset_landmarks
from tsfmicro_lab.preprocess.flow import FLOWS, endpoint_error, flow_colours, magnify, optical_flow
from tsfmicro_lab.preprocess.keyframes import difference_frame, intensity_curve, spot_apex, with_apex
from tsfmicro_lab.preprocess.landmarks import POINT_NAMES, FaceNotFoundError, Landmarker, MediaPipeLandmarker

__all__ = [
    "FLOWS",
    "POINT_NAMES",
    "FaceNotFoundError",
    "Landmarker",
    "MediaPipeLandmarker",
    "align_clip",
    "apply_alignment",
    "difference_frame",
    "endpoint_error",
    "estimate_alignment",
    "flow_colours",
    "intensity_curve",
    "magnify",
    "onset_landmarks",
    "optical_flow",
    "spot_apex",
    "with_apex",
]
