"""From a clip as it was recorded to frames that can be compared: landmarks, alignment, key frames, difference."""

from tsfmicro_lab.preprocess.alignment import align_clip, apply_alignment, estimate_alignment, onset_landmarks
from tsfmicro_lab.preprocess.flow import FLOWS, endpoint_error, flow_colours, magnify, optical_flow
from tsfmicro_lab.preprocess.flow_clip import apex_frames, clip_flow, key_flow, square_crop
from tsfmicro_lab.preprocess.keyframes import difference_frame, intensity_curve, spot_apex, with_apex
from tsfmicro_lab.preprocess.landmarks import POINT_NAMES, FaceNotFoundError, Landmarker, MediaPipeLandmarker

__all__ = [
    "FLOWS",
    "POINT_NAMES",
    "FaceNotFoundError",
    "Landmarker",
    "MediaPipeLandmarker",
    "align_clip",
    "apex_frames",
    "apply_alignment",
    "clip_flow",
    "difference_frame",
    "endpoint_error",
    "estimate_alignment",
    "flow_colours",
    "intensity_curve",
    "key_flow",
    "magnify",
    "onset_landmarks",
    "optical_flow",
    "spot_apex",
    "square_crop",
    "with_apex",
]
