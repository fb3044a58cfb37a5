"""The webcam recorder of the library with a picture beside it, for pages that no kernel serves."""

from pathlib import Path
from typing import Any

from tsfmicro_lab.data.video import Video, VideoError
from tsfmicro_lab.explain.figures import Picture
from tsfmicro_lab.widgets import WebcamRecorder
from tsfmicro_lab.widgets.tiles import png


class Recorder(WebcamRecorder):
    """A recorder whose still is the first frame of what was recorded, or says that there is none.

    Example:
        >>> Recorder("nobody.webm", seconds=2).picture[1:4]
        b'PNG'
    """

    @property
    def picture(self) -> bytes:
        """The first recorded frame, or a word, as a PNG."""
        try:
            frames = iter(Video(Path(self.path)))  # closed, it reads no more
            _, read = next(frames)
            return png(read())
        except (VideoError, OSError, StopIteration):
            figure = Picture(figsize=(4, 1), layout="constrained")
            figure.text(
                0.5, 0.5, "the camera shows here, in a running notebook", ha="center", va="center", color="#777"
            )
            return figure._repr_png_()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle: Any = super()._repr_mimebundle_(**kwargs)
        data, *about = bundle if isinstance(bundle, tuple) else (bundle,)
        return (data | {"image/png": self.picture}, *about) if about else data | {"image/png": self.picture}
