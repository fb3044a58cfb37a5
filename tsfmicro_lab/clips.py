"""The clip: frames with key frames and labels, the one thing that flows through the lab."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

# Without names, so that one call may take frames of several sizes.
Frame = UInt8[np.ndarray, "_ _ 3"]
Field = Float[np.ndarray, "2 _ _"]
Points = Float[np.ndarray, "_ 2"]

#: Largest image file that is read and largest side that is decoded; frames of the field are far below both.
MAX_FILE_BYTES, MAX_SIDE = 64 * 2**20, 8192


class LazyFrames:
    """Frames that are made when asked for: read from a file, rendered, or aligned.

    Args:
        make: Called with an item, returns the frame, (height, width, 3) uint8.
        items: What `make` is called with, one per frame: paths, indices.

    Example:
        >>> frames = LazyFrames(lambda grey: np.full((2, 2, 3), grey, np.uint8), range(5))
        >>> len(frames), frames[3].max()
        (5, np.uint8(3))
    """

    def __init__(self, make: Callable[..., np.ndarray], items: Sequence[object]) -> None:
        self.make, self.items = make, items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int, /) -> np.ndarray:
        return self.make(self.items[index])


class ClipError(ValueError):
    """Something about one clip cannot be used; the message names the clip and the remedy."""


class Truth:
    """What only a rendered clip knows: how every point moved between onset and apex, measured when it is asked for.

    Args:
        measure: Gives all of the attributes by name.

    Attributes:
        field: Displacement (dx, dy) of each onset pixel to the apex, all motion included, pixels.
        expression: The part of it that the action units made, without the head's motion, pixels.
        moved: Pixels that the expression displaces by at least a quarter of its largest displacement.
        visible: Pixels of the onset frame whose place on the face is seen in the apex frame as well.
        mesh: The 478 points of MediaPipe's mesh in the onset frame, pixels.
    """

    field: Field
    expression: Field
    moved: Bool[np.ndarray, "_ _"]
    visible: Bool[np.ndarray, "_ _"]
    mesh: Points

    def __init__(self, measure: Callable[[], dict[str, np.ndarray]]) -> None:
        self._measure = measure

    def __getattr__(self, name: str) -> np.ndarray:
        if name.startswith("_") or name not in Truth.__annotations__:
            raise AttributeError(name)
        vars(self).update(self._measure())
        return vars(self)[name]


@dataclass(frozen=True)
class Clip:
    """A clip of one micro-expression.

    Attributes:
        name: Name of the clip, unique within its subject.
        subject: Who is seen.
        frames: RGB frames, uint8; read when asked for.
        onset: Index of the last resting frame.
        apex: Index of the frame of the strongest expression, or None where nobody annotated it.
        offset: Index of the frame where the face is at rest again.
        fps: Frames per second.
        emotion: Label, or None.
        action_units: FACS units that move, such as ("4", "R12"); a prefix tells a one-sided movement.
        landmarks: The named points on the onset frame (see `preprocess.POINT_NAMES`), pixels, where they are known.
        truth: The true motion, for rendered clips.
        reach: Share of the way from onset to apex, near either, in which public code seeks its strongest pair.

    Raises:
        ClipError: The key frames are out of order or beyond the frames.

    Example:
        >>> clip = Clip("EP01", "sub01", [np.zeros((4, 4, 3), np.uint8)] * 3, onset=0, apex=1, offset=2)
        >>> clip
        Clip sub01/EP01: 3 frames at 200 fps, onset 0, apex 1, offset 2, no label
    """

    name: str
    subject: str
    frames: Sequence[np.ndarray] | LazyFrames = field(repr=False)
    onset: int
    apex: int | None
    offset: int
    fps: float = 200.0
    emotion: str | None = None
    action_units: tuple[str, ...] = ()
    landmarks: Points | None = field(default=None, repr=False)
    truth: Truth | None = field(default=None, repr=False)
    reach: float = field(default=0.15 / 4, repr=False)

    def __post_init__(self) -> None:
        if not len(self.frames):
            raise ClipError(f"clip {self.id}: it has no frames; check the folder it is read from")
        middle = self.onset if self.apex is None else self.apex
        if not 0 <= self.onset <= middle <= self.offset < len(self.frames):
            keys = f"onset {self.onset}, apex {self.apex}, offset {self.offset} must be in this order and within its"
            remedy = f"{len(self.frames)} frames; correct the annotation, or set apex=None to have it spotted"
            raise ClipError(f"clip {self.id}: {keys} {remedy}")

    @property
    def id(self) -> str:
        """Subject and name, by which messages and tables know the clip."""
        return f"{self.subject}/{self.name}"

    @property
    def key_frames(self) -> tuple[int, int]:
        """Onset and apex, for all that needs both.

        Raises:
            ClipError: The clip has no apex.
        """
        if self.apex is None:
            raise ClipError(f"clip {self.id} has no apex: call preprocess.with_apex first")
        return self.onset, self.apex

    def frame(self, index: int) -> Frame:
        """Reads one frame and checks that it is an RGB image of 8 bits.

        Raises:
            ClipError: The frame cannot be read or is no such image.
        """
        try:
            image = self.frames[index]
        except (OSError, ValueError, IndexError) as error:
            raise ClipError(f"clip {self.id}: frame {index} cannot be read: {error}") from error
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            shape, kind = getattr(image, "shape", None), getattr(image, "dtype", type(image).__name__)
            channels = "image[..., :3]" if shape and shape[-1] == 4 else "cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)"
            depth = f"({'image / 257' if kind == np.uint16 else '255 * image'}).astype('uint8')"
            remedy = f"got {shape} {kind}; convert it with {channels if kind == np.uint8 else depth}"
            raise ClipError(f"clip {self.id}: frame {index} must be (height, width, 3) uint8 RGB, {remedy}")
        return image

    def __repr__(self) -> str:
        units = f", AU {'+'.join(self.action_units)}" if self.action_units else ""
        keys = f"onset {self.onset}, apex {self.apex}, offset {self.offset}, {self.emotion or 'no label'}"
        return f"Clip {self.id}: {len(self.frames)} frames at {self.fps:g} fps, {keys}{units}"


def read_image(path: Path | str) -> Frame:
    """Reads a JPEG or PNG as RGB, grey ones with three equal channels, with bounds on its size.

    Raises:
        OSError: The file is missing.
        ValueError: The file is too large or no readable image.
    """
    path = Path(path)
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"{path} is larger than {MAX_FILE_BYTES >> 20} MiB, which no frame should be")
    try:
        with Image.open(path) as header:  # no pixel is decoded
            width, height = header.size
    except (OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is no readable image ({error}): copy it again from the data set") from error
    if max(width, height) > MAX_SIDE:
        raise ValueError(f"{path} is {width}×{height} px, more than {MAX_SIDE} on a side")
    if (image := cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR_RGB)) is None:
        raise ValueError(f"{path} is no readable image: copy it again from the data set")
    return image
