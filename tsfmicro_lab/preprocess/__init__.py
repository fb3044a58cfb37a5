"""From a clip as it was recorded to frames that can be compared: landmarks, alignment, key frames, difference, flow."""

from tsfmicro_lab.preprocess.alignment import align_clip, apply_alignment, estimate_alignment, onset_landmarks
from tsfmicro_lab.preprocess.flow import FLOWS, clip_flow, endpoint_error, flow_colours, optical_flow, square_crop
from tsfmicro_lab.preprocess.keyframes import apex_frames, difference_frame, distances, spot_apex, with_apex
from tsfmicro_lab.preprocess.landmarks import POINT_NAMES, Landmarker, MediaPipeLandmarker
