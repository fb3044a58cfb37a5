"""A face that moves, head or photograph: the frames that a camera records of it, and the truth about its motion."""

from dataclasses import replace
from functools import cache, cached_property

import cv2
import numpy as np
from jaxtyping import Float32
from scipy.spatial.transform import Rotation

from tsfmicro_lab.clips import Clip, Frame, LazyFrames, Points, Truth
from tsfmicro_lab.data import rendering
from tsfmicro_lab.data.mesh import EYE_RADIUS, Vertices, head_mesh, places_of
from tsfmicro_lab.data.motion import FPS, REFERENCE_SIZE, Motion, check_units, moved_region, trace, unit_delta
from tsfmicro_lab.data.rendering import SCALE, Camera, Image, Light, Surface, Vectors, encode, to_frame
from tsfmicro_lab.preprocess.landmarks import FACE_POINTS

#: The joint around which a head turns, millimetres, and how many frames a compressed video predicts in a row.
NECK = np.array([0.0, -95.0, -90.0], np.float32)
PREDICTED = 12
#: FACS intensities, trace to maximum, by the share of the strongest movement that the mesh knows: our estimate.
INTENSITIES = {"A": 0.0, "B": 0.15, "C": 0.35, "D": 0.6, "E": 0.85}


class MovingFace:
    """Renders any frame of a clip when asked.

    Raises:
        ValueError: A unit is unknown, contradicts another, or is to move farther than skin can.
    """

    def __init__(self, face: Surface, motion: Motion, camera: Camera | None = None, light: Light | None = None) -> None:
        self.face, self.motion, self.camera, self.light = face, motion, camera or Camera(), light or Light()
        check_units(list(motion.units))
        for unit, weight in self.weights.items():
            if not 0 <= weight <= 1.0001:
                given, most = (f"{pixels:.1f} px" for pixels in (motion.units[unit], motion.units[unit] / weight))
                limit = f"at most {most} of an image of {self.size} px"
                raise ValueError(f"{given} are more than action unit {unit} can move this face, or below 0: {limit}")

    @property
    def size(self) -> int:
        """Side of the frames, pixels."""
        return self.camera.size

    @cached_property
    def weights(self) -> dict[str, float]:
        """How far each action unit moves at the apex: 1 is the strongest movement that the mesh knows."""
        return {unit: pixels / self.reach(unit) for unit, pixels in self.motion.units.items()}

    def reach(self, unit: str) -> float:
        """Largest displacement of an action unit in full strength, pixels of the image before the camera zooms."""
        return float(np.hypot(*self._delta(unit)[:, :2].T).max()) * SCALE * self.size

    def _delta(self, unit: str) -> Vertices:
        """What a unit in full strength does to this face, millimetres: on one side more, by the face's habit."""
        lean = 1 + self.motion.bias * np.tanh(head_mesh().vertices[:, :1] / 10)
        delta = (lean * unit_delta(unit)) @ self.face.frame.T
        return trace(delta, self.face.vertices[: len(delta)], self.motion.trace) if self.motion.trace else delta

    def facs_intensity(self, unit: str) -> str:
        """The intensity that a FACS coder would write, A (trace) to E (maximum), by :data:`INTENSITIES`."""
        return max(letter for letter, share in INTENSITIES.items() if self.weights[unit] >= share)

    @cached_property
    def _rest(self) -> Vertices:
        return self.vertices(self.motion.onset)

    def vertices(self, frame: int, expression: float | None = None) -> Vertices:
        """Where every vertex is in a frame, millimetres.

        Args:
            frame: Index of the frame.
            expression: Share of the apex's expression, 0 to 1, instead of the frame's own.
        """
        motion, mesh = self.motion, head_mesh()
        delta = self._units(frame, expression)
        if closure := float(motion.closure[frame]):
            delta = delta + closure * self._blink
        for name, weight in zip(("jawOpen", "mouthFunnel"), motion.speech[frame], strict=True):
            delta = delta + weight * mesh.units[name] @ self.face.frame.T if weight else delta
        moved = self.face.vertices[: len(delta)] + delta
        left, up = motion.gaze[frame]
        for eye in mesh.eyes.values():
            centre = moved[eye][:28].mean(0) - (0, 0, EYE_RADIUS)
            moved[eye] = centre + Rotation.from_euler("yx", (left, -up)).apply(moved[eye] - centre)
        turned = Rotation.from_euler("yxz", motion.turn[frame]).apply(moved - NECK) + NECK
        turned[:, :2] += motion.drift[frame] * (1, -1) / (SCALE * REFERENCE_SIZE)
        return self.face.complete((moved + _head_share() * (turned - moved)).astype(np.float32))

    def _units(self, frame: int, expression: float | None = None) -> Vertices:
        """What the units do to the face, millimetres."""
        return (self.motion.intensity(frame) if expression is None else expression) * self._apex

    @cached_property
    def _apex(self) -> Vertices:
        """What the units do to the face at the apex, millimetres."""
        moved = (np.float32(weight) * self._delta(unit) for unit, weight in self.weights.items())
        return sum(moved, np.zeros_like(head_mesh().vertices))

    @cached_property
    def _blink(self) -> Vertices:
        """What closes this face's eyes, millimetres: lids meet where upper and lower one are farthest apart at rest."""
        close = unit_delta("43") @ self.face.frame.T
        upper, lower = [159, 386], [145, 374]
        rest, moved = (places_of(x)[:, 1] for x in (self.face.vertices[: len(close)], close))
        return close * (rest[upper] - rest[lower]).sum() / (moved[lower] - moved[upper]).sum()

    @property
    def landmarks(self) -> Points:
        """The named points in the onset frame, pixels."""
        return self.mesh_points(self.motion.onset)[list(FACE_POINTS.values())]

    def mesh_points(self, frame: int) -> Points:
        """The 478 points of MediaPipe's mesh in a frame, pixels."""
        return places_of(self.camera.project(self.vertices(frame))).astype(np.float32)

    @cached_property
    def expression(self) -> Vectors:
        """Displacement that the action units make at the apex, pixels."""
        end = self.vertices(self.motion.onset, expression=1.0)
        return rendering.motion_field(self.face.triangles, self._rest, end, self.camera)[0]

    def displacement(self, frame: int) -> Vectors:
        """Displacement of every pixel of the onset frame in another frame, pixels: expression and all the rest."""
        return rendering.motion_field(self.face.triangles, self._rest, self.vertices(frame), self.camera)[0]

    def noise_free(self, frame: int) -> Image:
        """A frame without flicker and camera noise, 0 to 255, not rounded."""
        key = Rotation.from_euler("yx", self.motion.lamp[frame]).apply(self.light.key)
        light = replace(self.light, key=(float(key[0]), float(key[1]), float(key[2])))
        return encode(rendering.draw(self.face, self.vertices(frame), self.camera, light))

    def render(self, frame: int) -> Frame:
        """A frame as the camera records it."""
        strength = self.motion.distractors
        if not strength.video:
            image = self._record(frame)
            return _jpeg(image, strength.jpeg) if strength.jpeg else image
        # Each frame stores what it adds to the one before, from a key frame on.
        decoded = _jpeg(self._record(first := frame - frame % PREDICTED), strength.video)
        for i in range(first + 1, frame + 1):
            rest = self._record(i).astype(np.int16) - decoded
            stored = _jpeg((rest + 128).clip(0, 255).astype(np.uint8), strength.video)
            decoded = (decoded + stored.astype(np.int16) - 128).clip(0, 255).astype(np.uint8)
        return decoded

    def _record(self, frame: int) -> Frame:
        image = self.noise_free(frame) * self.motion.gain[frame]
        if self.motion.noise:
            rng = np.random.default_rng([*self.motion.seed, frame])
            image = image + self.motion.noise * rng.standard_normal(image.shape, np.float32)
        return to_frame(image)

    def truth(self) -> Truth:
        """The true motion between onset and apex, measured when it is asked for."""
        return Truth(self._measure)

    def _measure(self) -> dict[str, np.ndarray]:
        end, triangles = self.vertices(self.motion.apex), self.face.triangles
        field, distance = rendering.motion_field(triangles, self._rest, end, self.camera)
        found = {"field": field, "expression": self.expression, "moved": moved_region(self.expression)}
        found["visible"] = rendering.still_visible(triangles, self._rest, end, field, distance, self.camera)
        return found | {"mesh": self.mesh_points(self.motion.onset)}

    def clip(self, name: str, subject: str, emotion: str | None = None) -> Clip:
        """The clip, whose frames are rendered when asked for."""
        m = self.motion
        frames, units = LazyFrames(self.render, range(m.frames)), tuple(m.units)
        keys = (m.onset, m.apex, m.offset)
        return Clip(name, subject, frames, *keys, FPS, emotion, units, self.landmarks, self.truth())


def _jpeg(image: Frame, strength: float) -> Frame:
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(np.clip(100 - 15 * strength, 5, 100))]
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", image[..., ::-1], quality)[1], cv2.IMREAD_COLOR_RGB))


@cache
def _head_share() -> Float32[np.ndarray, "vertices 1"]:
    """Share of the head's pose that a vertex follows: 1 from the jaw up, falling to 0 at the shoulders."""
    share = np.clip((head_mesh().vertices[:, 1:2] + 170) / 65, 0, 1)
    return share * share * (3 - 2 * share)
