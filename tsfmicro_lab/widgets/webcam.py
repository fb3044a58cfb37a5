"""WebcamRecorder: a few seconds of your own face, recorded by the browser into a file beside the notebook."""

from pathlib import Path

import anywidget
import traitlets

#: Recordings that grow beyond this are cut off.
MAX_BYTES = 500 * 2**20


class WebcamRecorder(anywidget.AnyWidget):  # type: ignore[misc]
    """Records from the camera of the machine that shows the page; the file goes to the machine that runs the notebook.

    Each recording replaces the file. The `state` is "ready", "recording", "done", "cut off" or "failed".
    """

    _esm = Path(__file__).with_name("webcam.js")
    path = traitlets.Unicode().tag(sync=True)
    seconds = traitlets.Float(5.0, min=1, max=60).tag(sync=True)
    state = traitlets.Unicode("ready").tag(sync=True)

    def __init__(self, path: Path | str = "webcam.webm", seconds: float = 5.0) -> None:
        super().__init__(path=str(path), seconds=seconds)
        self._size = 0
        self.on_msg(self._take)

    def _take(self, _: object, content: dict[str, str], parts: list[memoryview]) -> None:
        path = Path(self.path)
        if content.get("kind") == "begin":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
            self._size = 0
        for part in parts:
            self._size += len(part)
            if self._size <= MAX_BYTES:
                with path.open("ab") as file:
                    file.write(part)
        if content.get("kind") == "end":
            self.state = "done" if self._size <= MAX_BYTES else "cut off"
