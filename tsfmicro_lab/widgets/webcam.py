"""WebcamRecorder: a few seconds of your own face, recorded by the browser into a file beside the notebook."""

from pathlib import Path

import anywidget
import traitlets

#: Recordings that grow beyond this are cut off.
MAX_BYTES = 500 * 2**20


class WebcamRecorder(anywidget.AnyWidget):  # type: ignore[misc]
    """Records from the camera of the machine that shows the page; the file goes to the machine that runs the notebook.

    Each recording replaces the file.

    Attributes:
        path, seconds: Where the recording goes, and how long it is.
        status: "ready", "recording", "done", "cut off" or "failed".
        state: Path and seconds, a dictionary: keep it, and assign it to come back to it.
    """

    _esm = Path(__file__).with_name("webcam.js")
    path = traitlets.Unicode().tag(sync=True)
    seconds = traitlets.Float(5.0, min=1, max=60).tag(sync=True)
    status = traitlets.Unicode("ready").tag(sync=True)
    _size = 0
    state = property(lambda s: s.get_state(["path", "seconds"]), lambda s, w: [s.set_trait(*x) for x in w.items()])  # type: ignore[arg-type]

    def __init__(self, path: Path | str = "webcam.webm", seconds: float = 5.0) -> None:
        super().__init__(path=str(path), seconds=seconds)
        self.on_msg(self._take)

    def _take(self, _: object, content: dict[str, str], parts: list[memoryview]) -> None:
        path, kind = Path(self.path), content.get("kind")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._size = sum(map(len, parts)) + (kind != "begin" and self._size)
        if self._size <= MAX_BYTES:
            with path.open("wb" if kind == "begin" else "ab") as file:
                file.writelines(parts)
        if kind == "end":
            self.status = "done" if self._size <= MAX_BYTES else "cut off"
