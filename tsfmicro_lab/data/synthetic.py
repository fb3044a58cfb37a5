"""Synthetic micro-expressions: heads moved by known action units, so that every claim can be checked.

MiE-X (arXiv 2112.01730) made micro-expressions of action units before; the data card `synthetic` names other prior art.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd

from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data.heads import Person, draw_head
from tsfmicro_lab.data.mesh import LOOKS
from tsfmicro_lab.data.motion import FPS, REFERENCE_SIZE, Distractors, Motion, unit_reach
from tsfmicro_lab.data.moving_face import MovingFace
from tsfmicro_lab.data.rendering import Camera, Light, Surface
from tsfmicro_lab.data.schema import Dataset, check_annotations, describe

#: Which action units show an emotion (looks.toml tells why).
PROTOTYPES = {emotion: tuple(map(tuple, ways)) for emotion, ways in LOOKS["prototypes"].items()}
#: The units of `where="needed"`, each on one side of the face.
_NEEDED = {"happiness": "12", "disgust": "10", "repression": "15", "surprise": "1 2", "others": "4 14"}
#: What a clip may show: the whole face, upright; or a close-up that nobody has aligned.
WHERE = {"free": PROTOTYPES}
WHERE["needed"] = {e: tuple((side + u,) for u in units.split() for side in "LR") for e, units in _NEEDED.items()}
#: How near the camera of a close-up is, how far from the picture's edge the movement lies, as a share of the side, and
#: how wide its trace is, millimetres.
_ZOOM, _EDGE, _TRACE = (1.6, 3.2), 0.25, 7.0
#: CASME II's five classes, 246 clips of its 2014 labels.
CLASS_COUNTS = {"happiness": 32, "disgust": 63, "repression": 27, "surprise": 25, "others": 99}
#: How MEGC2019 joins them to three classes; it leaves "others" out.
MEGC = {"happiness": "positive", "disgust": "negative", "repression": "negative", "surprise": "surprise"}
#: How clips are dealt to the classes: like CASME II, all alike, or unevenly to each subject, as recordings are.
BALANCES = ("casme2", "uniform", "uneven")


class SyntheticMicroExpressions(Dataset):
    """Micro-expressions of 3-D heads, with action units and labels after CASME II and the truth known.

    Where brows, nose and mouth lie varies between subjects: the same difference at the same place can be another action
    unit on another face.

    Args:
        subjects: Number of subjects.
        clips_per_subject: Clips of each; with `balance="uneven"` their mean.
        image_size: Side of the frames, pixels.
        seed: The same seed gives the same clips, bit by bit, whatever order they are asked for.
        layout_variation: How much heads differ in their proportions; 1 is about the spread of adults, 0 one head.
        amplitude: Smallest and largest displacement of an action unit, pixels at 224 px (scaled with the image).
        distractors: Strength of head sway and turn, light, noise, blinks, gaze and more.
        balance: One of :data:`BALANCES`. But for `uneven`, every subject shows every emotion about as often as every
            other one, so a resting face says nothing about the label.
        habits: How much subjects differ in the units that they prefer and in the side that moves more; 0 not at all.
        where: `free`, or `needed`: a camera that nobody has aligned films a trace of a unit, from near, turned by any
            angle, and pointed anywhere around it. In the picture all traces look alike, so the displacement does not
            tell the emotion; where on the face it lies does, and that is seen in the onset frame alone. Alignment takes
            the condition away, so prepare such clips with `align=False`.

    Example:
        >>> data = SyntheticMicroExpressions(subjects=3, clips_per_subject=5, image_size=96)
        >>> data
        SyntheticMicroExpressions: 15 clips of 3 subjects, 96 px, 200 fps, seed 0
            others 6, disgust 4, happiness 2, surprise 2, repression 1
    """

    name = "synthetic"
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
        balance: str = "casme2",
        habits: float = 1.0,
        where: str = "free",
    ) -> None:
        if subjects < 1 or clips_per_subject < 1 or image_size < 32:
            given = f"{subjects}, {clips_per_subject} and {image_size}"
            raise ValueError(f"subjects, clips_per_subject and image_size must be at least 1, 1 and 32, got {given}")
        for name, word, known in (("balance", balance, BALANCES), ("where", where, tuple(WHERE))):
            if word not in known:
                raise ValueError(f"{name} is one of {', '.join(known)}, not '{word}'")
        if not (len(amplitude) == 2 and 0 < amplitude[0] <= amplitude[1] < np.inf):
            raise ValueError(f"amplitude is (smallest, largest) in pixels, 0 < smallest ≤ largest, not {amplitude}")
        bounded = {"layout_variation": (layout_variation, 2), "habits": (habits, 10), "seed": (seed, 2**31)}
        for name, (value, most) in bounded.items():
            if not 0 <= value <= most:
                raise ValueError(f"{name} must lie between 0 and {most}, got {value}")
        self.where, self._prototypes = where, WHERE[where]
        self.image_size, self.seed, self.layout_variation = image_size, seed, layout_variation
        self.amplitude, self.distractors, self.habits = amplitude, distractors or Distractors(), habits
        self.report = pd.DataFrame(columns=["subject", "clip", "what"])
        self._plan = self._draw_plan(subjects, clips_per_subject, balance)
        self._motions = [self._motion(i) for i in range(len(self._plan))]
        rows = []
        for (subject, number, emotion, units), motion in zip(self._plan, self._motions, strict=True):
            row = {"subject": self._name(subject), "clip": f"EP{number:02d}", "onset": motion.onset}
            row |= {"apex": motion.apex, "offset": motion.offset, "emotion": emotion, "emotion_megc": MEGC.get(emotion)}
            row |= {"action_units": "+".join(units), "fps": FPS, "amplitude": max(motion.units.values())}
            rows.append(row | {"blink": bool(motion.closure.max() > 0)})
        self.annotations = check_annotations(pd.DataFrame(rows))

    def __getitem__(self, index: int) -> Clip:
        """The clip of that row of the annotations."""
        subject, number, emotion, _ = self._plan[index]
        return self.moving_face(index).clip(f"EP{number:02d}", self._name(subject), emotion)

    def moving_face(self, index: int) -> MovingFace:
        """The renderer behind a clip: face, motion, truth, and frames without noise."""
        subject = self._plan[index][0]
        moving = MovingFace(self.face(subject), self._motions[index], Camera(self.image_size), self.light(subject))
        if self.where == "needed":
            moving.camera = _close_up(moving, np.random.default_rng([self.seed, 7, index]))
        return moving

    def light(self, subject: int) -> Light:
        """The light that a subject sits in."""
        return Light.draw(np.random.default_rng([self.seed, 6, subject]))

    def face(self, subject: int) -> Surface:
        """A subject's face at rest; subjects count from 0."""
        return _head(1000 * self.seed + subject, self.layout_variation)

    def __repr__(self) -> str:
        return f"{type(self).__name__}: " + describe(self, f", {self.image_size} px, {FPS:g} fps, seed {self.seed}")

    def _name(self, subject: int) -> str:
        return f"sub{subject + 1:02d}"

    def _draw_plan(self, subjects: int, clips: int, balance: str) -> list[tuple[int, int, str, tuple[str, ...]]]:
        rng = np.random.default_rng([self.seed, 0])
        counts = np.array(list(CLASS_COUNTS.values()) if balance == "casme2" else [1] * len(CLASS_COUNTS))
        bounds = np.round(np.cumsum(counts / counts.sum()) * subjects * clips).astype(int)
        dealt = np.repeat(list(CLASS_COUNTS), np.diff(bounds, prepend=0))
        plan = []
        for s in range(subjects):  # dealt like cards: every subject gets the same share of each emotion
            hand = rng.permutation(dealt[s::subjects])
            if balance == "uneven":
                share = rng.dirichlet(1.5 * counts / counts.mean())
                hand = rng.choice(list(CLASS_COUNTS), size=max(1, rng.poisson(clips)), p=share)
            liking = {e: rng.dirichlet(np.full(len(units), 1.0)) for e, units in self._prototypes.items()}
            for number, emotion in enumerate(map(str, hand), start=1):
                choices = self._prototypes[emotion]
                odds = (liking[emotion] + 1e-3) ** self.habits
                plan.append((s, number, emotion, choices[rng.choice(len(choices), p=odds / odds.sum())]))
        return plan

    def _motion(self, index: int) -> Motion:
        rng = np.random.default_rng([self.seed, 1, index])
        subject, _, _, units = self._plan[index]
        scale = self.image_size / REFERENCE_SIZE
        # One strength a clip, its units within 30 % of one another: they are one movement of one face.
        strength = rng.uniform(*self.amplitude)
        relative = rng.uniform(0.7, 1.0, len(units))
        wanted = {u: max(strength * r, self.amplitude[0]) for u, r in zip(units, relative, strict=True)}
        habit = np.random.default_rng([self.seed, 5, subject]).normal()
        bias = float(np.clip(0.15 * self.habits * habit, -0.3, 0.3))
        motion = Motion.draw({}, self.distractors, [self.seed, 2, index])
        pixels = {u: scale * min(wish, (1 - abs(bias)) * unit_reach(u)) for u, wish in wanted.items()}
        return replace(motion, units=pixels, bias=bias, trace=_TRACE if self.where == "needed" else 0.0)


def _close_up(moving: MovingFace, rng: np.random.Generator) -> Camera:
    """A camera in any turn, near, that shows the place which moves most anywhere in the middle of its picture."""
    camera = Camera(moving.size, float(np.exp(rng.uniform(*np.log(_ZOOM)))), rng.uniform(0, 2 * np.pi))
    rest, end = (moving.vertices(moving.motion.onset, expression) for expression in (0.0, 1.0))
    strongest = int(np.linalg.norm(end - rest, axis=1).argmax())
    x, y = rng.uniform(_EDGE, 1 - _EDGE, 2) - camera.project(rest[strongest][None])[0] / moving.size
    return replace(camera, shift=(float(x), float(y)))


@lru_cache(maxsize=16)
def _head(seed: int, layout_variation: float) -> Surface:
    return draw_head(Person.draw(seed, layout_variation))
