"""Synthetic micro-expressions: drawn faces moved by known action units, so that every claim can be checked."""

from functools import lru_cache

import numpy as np
import pandas as pd

from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data.face_params import FaceParams
from tsfmicro_lab.data.faces import Face, draw_face
from tsfmicro_lab.data.moving_face import FPS, REFERENCE_SIZE, Distractors, Motion, MovingFace
from tsfmicro_lab.data.schema import check_annotations, describe

#: Which action units show an emotion. The table is ours, in the spirit of FACS prototypes and of CASME II's classes
#: (Yan et al., PLoS ONE 9(1): e86041, 2014), where "others" holds movements without a clear emotion.
PROTOTYPES: dict[str, tuple[tuple[str, ...], ...]] = {
    "happiness": (("12",), ("6", "12"), ("6", "12"), ("L12",), ("R12",)),
    "disgust": (("9",), ("4", "9"), ("4", "7", "9"), ("7", "9"), ("9", "17")),
    "repression": (("15",), ("17",), ("15", "17"), ("14",), ("14", "17"), ("L15",), ("R15",)),
    "surprise": (("1", "2"), ("1", "2", "5"), ("2",), ("5",)),
    "others": (("4",), ("4", "7"), ("7",), ("L14",), ("R14",), ("24",), ("4", "24")),
}
#: CASME II's five classes, 246 clips of its 2014 labels.
CLASS_COUNTS = {"happiness": 32, "disgust": 63, "repression": 27, "surprise": 25, "others": 99}
#: How MEGC2019 joins them to three classes; it leaves "others" out.
MEGC = {"happiness": "positive", "disgust": "negative", "repression": "negative", "surprise": "surprise"}


class SyntheticMicroExpressions:
    """Micro-expressions of drawn faces, with class balance and action units after CASME II and the truth known.

    Every subject shows every emotion about as often as every other subject, so a resting face says nothing about the
    label. Where brows, nose and mouth lie varies between subjects: the same difference at the same place can be
    another action unit on another face.

    Args:
        subjects: Number of subjects.
        clips_per_subject: Clips of each.
        image_size: Side of the frames, pixels.
        seed: The same seed gives the same clips, bit by bit, whatever order they are asked for.
        layout_variation: How much faces differ in their proportions; 1 is about the spread of adults, 0 one layout.
        amplitude: Smallest and largest displacement of an action unit, pixels at 224 px (scaled with the image).
        distractors: Strength of drift, flicker, noise and blinks.

    Example:
        >>> data = SyntheticMicroExpressions(subjects=3, clips_per_subject=5, image_size=96)
        >>> data
        SyntheticMicroExpressions: 15 clips of 3 subjects, 96 px, 200 fps, seed 0
            others 6, disgust 4, happiness 2, surprise 2, repression 1
    """

    classes = tuple(PROTOTYPES)

    def __init__(
        self,
        subjects: int = 8,
        clips_per_subject: int = 12,
        image_size: int = 128,
        seed: int = 0,
        *,
        layout_variation: float = 1.0,
        amplitude: tuple[float, float] = (0.5, 3.0),
        distractors: Distractors | None = None,
    ) -> None:
        if subjects < 1 or clips_per_subject < 1 or image_size < 32:
            given = f"{subjects}, {clips_per_subject} and {image_size}"
            raise ValueError(f"subjects, clips_per_subject and image_size must be at least 1, 1 and 32, got {given}")
        self.name = "synthetic"
        self.image_size, self.seed, self.layout_variation = image_size, seed, layout_variation
        self.amplitude, self.distractors = amplitude, distractors or Distractors()
        self.report = pd.DataFrame(columns=["subject", "clip", "what"])
        self._plan = self._draw_plan(subjects, clips_per_subject)
        self._motions = [self._motion(i) for i in range(len(self._plan))]
        rows = []
        for (subject, number, emotion, units), motion in zip(self._plan, self._motions, strict=True):
            row = {"subject": subject, "clip": f"EP{number:02d}", "onset": motion.onset, "apex": motion.apex}
            row |= {"offset": motion.offset, "emotion": emotion, "emotion_megc": MEGC.get(emotion)}
            row |= {"action_units": "+".join(units), "fps": FPS, "amplitude": max(motion.units.values())}
            rows.append(row | {"blink": bool(motion.closure.max() > 0)})
        self.annotations = check_annotations(pd.DataFrame(rows))

    def __len__(self) -> int:
        return len(self._plan)

    def __getitem__(self, index: int) -> Clip:
        """The clip of that row of the annotations."""
        subject, number, emotion, _ = self._plan[index]
        return self.moving_face(index).clip(f"EP{number:02d}", subject, emotion)

    def moving_face(self, index: int) -> MovingFace:
        """The renderer behind a clip: face, motion, and frames without noise."""
        number = int(self._plan[index][0].removeprefix("sub"))
        return MovingFace(_draw_face(self.seed, number, self.layout_variation, self.image_size), self._motions[index])

    def __repr__(self) -> str:
        return "SyntheticMicroExpressions: " + describe(self, f", {self.image_size} px, {FPS:g} fps, seed {self.seed}")

    def _draw_plan(self, subjects: int, clips: int) -> list[tuple[str, int, str, tuple[str, ...]]]:
        rng = np.random.default_rng([self.seed, 0])
        share = np.array(list(CLASS_COUNTS.values())) / sum(CLASS_COUNTS.values())
        bounds = np.round(np.cumsum(share) * subjects * clips).astype(int)
        dealt = np.repeat(list(CLASS_COUNTS), np.diff(bounds, prepend=0))
        plan = []
        for s in range(subjects):  # dealt like cards: every subject gets the same share of each emotion
            hand = rng.permutation(dealt[s::subjects])
            for number, emotion in enumerate(hand, start=1):
                choices = PROTOTYPES[str(emotion)]
                plan.append((f"sub{s + 1:02d}", number, str(emotion), choices[rng.integers(len(choices))]))
        return plan

    def _motion(self, index: int) -> Motion:
        rng = np.random.default_rng([self.seed, 1, index])
        units = self._plan[index][3]
        scale = self.image_size / REFERENCE_SIZE
        # One strength a clip, its units within 30 % of one another: they are one movement of one face.
        strength = rng.uniform(*self.amplitude)
        relative = rng.uniform(0.7, 1.0, len(units))
        pixels = {u: scale * max(strength * r, self.amplitude[0]) for u, r in zip(units, relative, strict=True)}
        return Motion.draw(pixels, self.image_size, self.distractors, [self.seed, 2, index])


@lru_cache(maxsize=64)
def _draw_face(seed: int, subject: int, layout_variation: float, image_size: int) -> Face:
    rng = np.random.default_rng([seed, 3, subject])
    return draw_face(FaceParams.draw(rng, layout_variation), image_size)
