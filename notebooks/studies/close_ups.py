"""Close-ups of resting heads in which one spot moves: *where* on the face it lies is seen in the onset frame alone.

A cheap relative of `SyntheticMicroExpressions(where="needed")`: one rendered frame of each head, cut out in any size,
turn and position. What moves is a round spot, always the same, so the difference frame hardly tells the class.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float32
from torch import Tensor, nn

from tsfmicro_lab.data import Distractors, Samples, SyntheticMicroExpressions
from tsfmicro_lab.models.base import ModelConfig, Recognizer, to_inputs
from tsfmicro_lab.preprocess.landmarks import POINT_INDEX

#: The points that move, by class: where action units 9, 12 and 2 act, on either side.
PLACES = {
    "disgust": ("left_nose_wing", "right_nose_wing"),
    "happiness": ("left_mouth_corner", "right_mouth_corner"),
    "surprise": ("left_brow_middle", "right_brow_middle"),
}
#: Side of the rendered heads and of the close-ups, pixels.
RENDERED, SIDE = 192, 56
#: How near the camera comes, how far it is shifted, as a share of the side, and how far it is turned, degrees.
ZOOM, SHIFT, DEGREES = (1.5, 2.2), 0.2, 180.0
#: Least distance of the spot from the edge, pixels.
EDGE = 6
#: Standard deviation of the spot, pixels, and by how many grey levels it brightens the apex frame.
SPREAD, BRIGHT = 2.5, 80.0

Spot = Float32[np.ndarray, "side side"]


@dataclass(frozen=True)
class CloseUps:
    """Clips that need the onset frame.

    Attributes:
        samples: Onset and apex frames with their labels; the table has the position `x`, `y` of the spot, pixels.
        moved: Where the spot has at least a quarter of its full brightness, (N, S, S).
    """

    samples: Samples
    moved: Bool[np.ndarray, "n side side"]


def spot_at(x: float, y: float) -> Spot:
    """A round spot, 1 at its centre (pixels of the close-up)."""
    v, u = np.mgrid[:SIDE, :SIDE]
    return np.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * SPREAD**2)).astype(np.float32)


def with_spot(onset: Tensor, x: float, y: float) -> dict[str, Tensor]:
    """The inputs of a model if the spot of one onset frame, (3, S, S), lay elsewhere: a counterfactual.

    Example:
        >>> inputs = with_spot(torch.zeros(3, SIDE, SIDE), 20.0, 30.0)
        >>> int(inputs["difference"][0, 0].argmax()) == 30 * SIDE + 20
        True
    """
    return to_inputs(onset[None].float(), onset[None].float() + BRIGHT * torch.from_numpy(spot_at(x, y)))


def close_ups(heads: int, number: int, seed: int = 0) -> CloseUps:
    """Draws clips of some heads, every class equally often.

    Args:
        heads: Number of subjects; each is rendered once.
        number: Clips of each.
        seed: Of heads and cuts.

    Example:
        >>> close_ups(2, 3).samples.label.tolist()
        [0, 1, 2, 0, 1, 2]
    """
    data = SyntheticMicroExpressions(heads, 1, RENDERED, seed, distractors=Distractors.none())
    rng, rows, onsets = np.random.default_rng([seed, 11]), [], []
    for head in range(heads):
        moving = data.moving_face(head)
        face, points = moving.render(moving.motion.onset), moving.landmarks
        for i in range(number):
            emotion = list(PLACES)[i % len(PLACES)]
            place = points[POINT_INDEX[PLACES[emotion][rng.integers(2)]]]
            matrix, (x, y) = _camera(points[POINT_INDEX["nose_tip"]], place, rng)
            seen = cv2.warpAffine(face, matrix, (SIDE, SIDE), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT)
            onsets.append(seen)
            rows.append({"subject": f"sub{head + 1:02d}", "clip": f"EP{i + 1:02d}", "emotion": emotion, "x": x, "y": y})
    spots = np.stack([spot_at(row["x"], row["y"]) for row in rows])
    onset = torch.from_numpy(np.stack(onsets)).permute(0, 3, 1, 2).contiguous()
    apex = onset.float() + BRIGHT * torch.from_numpy(spots)[:, None]
    classes = tuple(PLACES)
    label = torch.tensor([classes.index(row["emotion"]) for row in rows])
    samples = Samples(
        {"onset": onset, "apex": apex}, label, classes, pd.DataFrame(rows), "close-ups of synthetic heads"
    )
    return CloseUps(samples, spots >= 0.25)


def _camera(centre: np.ndarray, place: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A camera that nobody aligned, as an affine matrix, and where it sees a place: never at the edge."""
    while True:
        zoom = rng.uniform(*ZOOM) * SIDE / RENDERED
        x, y = map(float, centre)
        matrix = cv2.getRotationMatrix2D((x, y), rng.uniform(-DEGREES, DEGREES), zoom)
        matrix[:, 2] += SIDE * (0.5 + rng.uniform(-SHIFT, SHIFT, 2)) - centre
        at = matrix[:, :2] @ place + matrix[:, 2]
        if at.min() >= EDGE and at.max() < SIDE - EDGE:
            return matrix, at


class SpotNet(Recognizer):
    """A two-stream network small enough to be read: features of the face, weighed by where something moves.

    The onset stream makes features of each position of the face; the difference stream makes attention weights over
    the positions; a linear layer sees the weighted sum. So the same spot on another part of the face is another answer.
    """

    name = "spot_net"
    origin = "written for notebook 09"
    presets: ClassVar[Mapping[str, ModelConfig]] = {"base": ModelConfig(len(PLACES), SIDE, tuple(PLACES))}

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)

        def layer(i: int, o: int, stride: int) -> list[nn.Module]:
            return [nn.Conv2d(i, o, 3, stride, 1), nn.BatchNorm2d(o), nn.ReLU()]

        self.where = nn.Sequential(*layer(3, 16, 2), *layer(16, 32, 2), *layer(32, 32, 1))
        brighter = nn.Conv2d(3, 1, 1)
        nn.init.ones_(brighter.weight)  # it begins by looking where something became brighter
        self.how = nn.Sequential(nn.AvgPool2d(4), brighter, nn.BatchNorm2d(1), nn.Flatten(), nn.Softmax(-1))
        self.classifier = nn.Linear(32, config.num_classes)

    def forward(self, onset: Tensor, difference: Tensor) -> Tensor:
        """Returns the logits."""
        face, weights = self.where(onset).flatten(2), self.how(difference)[:, None]  # (B, 32, 196), (B, 1, 196)
        return self.classifier((face * weights).sum(-1))
