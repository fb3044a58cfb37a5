"""From a clip as it was recorded to frames that can be compared: landmarks, alignment, key frames, difference, flow."""

from tsfmicro_lab.preprocess.alignment import align_clip, apply_alignment, estimate_alignment, onset_landmarks
from tsfmicro_lab.preprocess.flow import FLOWS, clip_flow, endpoint_error, flow_colours, optical_flow, square_crop
from tsfmicro_lab.preprocess.keyframes import apex_frames, difference_frame, intensity_curve, spot_apex, with_apex
from tsfmicro_lab.preprocess.landmarks import POINT_NAMES, MediaPipeLandmarker

__all__ = [
    "FLOWS",
    "POINT_NAMES",
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
    "onset_landmarks",
    "optical_flow",
    "spot_apex",
    "square_crop",
    "with_apex",
]
