"""Widgets for notebooks: sliders over models and clips. They show what the library computes and hold no science."""

from tsfmicro_lab.widgets.face_studio import FaceStudio
from tsfmicro_lab.widgets.fusion import FusionExplorer
from tsfmicro_lab.widgets.onset_apex import OnsetApexExplorer
from tsfmicro_lab.widgets.viewer import FrameViewer, WebcamRecorder
from tsfmicro_lab.widgets.where_how import WhereHowExplorer
