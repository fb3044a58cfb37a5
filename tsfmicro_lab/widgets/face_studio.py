"""FaceStudio: a face whose every muscle has a slider, and whose true motion is known."""

from collections import deque
from functools import lru_cache
from pathlib import Path

import ipywidgets as widgets
import numpy as np
import pandas as pd
import traitlets

from tsfmicro_lab.clips import Clip
from tsfmicro_lab.data.heads import Person, draw_head
from tsfmicro_lab.data.motion import ACTION_UNITS, FPS, REFERENCE_SIZE, Distractors, Motion
from tsfmicro_lab.data.moving_face import MovingFace
from tsfmicro_lab.data.photographs import find_portrait, packaged_portraits, photographed
from tsfmicro_lab.data.rendering import Camera, Light, Surface
from tsfmicro_lab.data.video import Video
from tsfmicro_lab.models import Recognizer
from tsfmicro_lab.preprocess.keyframes import difference_frame
from tsfmicro_lab.widgets.explorer import Explorer, button, labelled, menu, model_and_classes, slider
from tsfmicro_lab.widgets.tiles import Bars, Pane, Pictures, checked_size, png
from tsfmicro_lab.widgets.viewer import WebcamRecorder

SOURCES = {"a head": "head", "a photograph": "photograph", "a picture of the webcam": "webcam"}
FACE_SIDES = {"both sides": "", "right side": "R", "left side": "L"}
#: Strongest setting of each distractor; blinks and gaze shifts are in every clip from 10 and 3.5 on.
STRONGEST = dict.fromkeys(("drift", "turn", "flicker", "light", "noise", "speech", "jpeg"), 3.0)
STRONGEST |= {"gaze": 3.5, "blinks": 10.0}


class FaceStudio(Explorer):
    """Choose a face, action units, their strength and timing, and watch: frames, difference, motion, a prediction.

    Frames are `size` pixels wide, 32 to 1024; `seed` is the person drawn first; `model` predicts the clip, by default
    the one of emotions that ships. What cannot be done is told in the message, and the pictures stay.

    Attributes:
        source: Whether a head, a photograph or a picture of the webcam moves.
        person, layout_variation: Seed of the head, and how far its proportions may be from the mean.
        photograph: Name of one of two portraits in the public domain, or the path of a picture of your own.
        webcam, recording: Records a second, of which the last picture is taken; the file's path.
        units: By action unit, its largest displacement, pixels of a face of 224 px: as far as skin goes on this face.
        side, duration, rise: Both sides, or one; from onset to offset, ms; share of it before the apex.
        distractors: By name, such as `turn` or `light`, its strength, 1 as in the data set.
        frame: Which frame is shown; `play` moves it.
        folder: Where `save` puts frames and annotation.
        moving: The renderer behind the pictures.
    """

    source, photograph, recording, side = (traitlets.Unicode() for _ in range(4))
    person, duration, frame = (traitlets.Int() for _ in range(3))
    layout_variation, rise = traitlets.Float(), traitlets.Float()
    legend = "difference: orange brighter, purple darker; true motion: colour is direction, strength is length"

    def __init__(self, size: int = 224, seed: int = 1, model: Recognizer | None = None) -> None:
        self.size, (self.model, classes) = checked_size(size), model_and_classes(model, None)
        names = list(packaged_portraits())
        own = widgets.Combobox(names[0], options=names, continuous_update=False, placeholder="or your file's name")
        controls = {"source": menu("face", SOURCES), "person": slider("person", seed, 0, 200, wait=True)}
        controls |= {"layout_variation": slider("layout variation", 1, 0, 2, 0.25, wait=True)}
        controls |= {"photograph": labelled(own, "photograph"), "side": menu("moves on", FACE_SIDES)}
        controls |= {"duration": slider("duration, ms", 300, 100, 500, 5, wait=True)}
        controls |= {"rise": slider("rises for (share)", 0.45, 0.2, 0.8, 0.05, wait=True)}
        controls |= {"frame": slider("frame", 0, 0, 1)}
        labels = {unit: f"{unit} {name}" for unit, (name, *_) in ACTION_UNITS.items()}
        self.units = {u: slider(label, 2 * (u == "12"), 0, 4, 0.25, wait=True) for u, label in labels.items()}
        self.distractors = {name: slider(f"{name} ×", 0, 0, top, 0.25, wait=True) for name, top in STRONGEST.items()}
        self.webcam, self.play = WebcamRecorder("webcam.webm", seconds=1), widgets.Play(interval=40)
        widgets.jslink((self.play, "value"), (controls["frame"], "value"))
        self.folder = labelled(widgets.Text("my_clips/clip01"), "save to folder")
        self.pictures, self.bars = Pictures(), Bars(classes)
        moving = [*self.units.values(), *self.distractors.values()]
        saving = [self.bars, self.folder, button("save as data", "save", self.save)]
        super().__init__(controls, [[self.webcam, self.play], [self.pictures], moving, saving])
        more = {f"AU {unit}": c for unit, c in self.units.items()} | self.distractors
        self.offer(recording=(self.webcam, "path"), **{name: (control, "value") for name, control in more.items()})
        self.when(["source", "person", "layout_variation", "photograph", "recording"], self._new_face, "drawing")
        self.when([(self.webcam, "status")], self._recorded, "looking for the face")
        self.when(["side"], self._new_side)
        self.when(["duration", "rise", *moving], self._new_motion)
        self.when(["frame"], self._update)
        self._new_face()

    def clip(self) -> Clip:
        """What is shown, as a clip with its truth."""
        return self.moving.clip(Path(self.folder.value).name or "studio", self._subject)

    def clear(self) -> None:
        """What was shown stays."""

    def save(self) -> Path:
        """Writes each frame as a PNG and the annotation as CSV into the folder; an OSError if that holds something."""
        with self.telling("saving"):
            clip, folder = self.clip(), Path(self.folder.value)
            if folder.exists() and any(folder.iterdir()):
                raise OSError(f"{folder} is not empty: choose another folder")
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(len(clip.frames)):
                (folder / f"img{i:03d}.png").write_bytes(png(clip.frame(i)))
            row = {"subject": clip.subject, "clip": clip.name, "onset": clip.onset, "apex": clip.apex}
            row |= {"offset": clip.offset, "fps": clip.fps, "action_units": "+".join(clip.action_units)}
            pd.DataFrame([row]).to_csv(folder / "annotation.csv", index=False)
        self.message.value = f"{len(clip.frames)} frames and annotation.csv are in {folder}"
        return folder

    def _new_face(self) -> None:
        for name, kind in {"person": "head", "layout_variation": "head", "photograph": "photograph"}.items():
            self.controls[name][0].layout.display = None if kind == self.source else "none"
        self.webcam.layout.display = None if self.source == "webcam" else "none"
        self._face, self._light, self._subject = self._asked()
        self._new_side()

    def _recorded(self) -> None:
        if self.webcam.status == "done":
            self._new_face()

    def _asked(self) -> tuple[Surface, Light, str]:
        """The face that is asked for, its light and its name."""
        if self.source == "head":
            head = draw_head(Person.draw(self.person, self.layout_variation))
            return head, Light.draw(np.random.default_rng(self.person)), f"person{self.person:03d}"
        if self.source == "photograph":
            name = self.photograph.strip()
            if name not in (known := packaged_portraits()) and not Path(name).is_file():
                raise ValueError(f"there is no picture {name}: upload it beside the notebook and type the file's name")
            return photographed(find_portrait(known.get(name, name), name), self.size), Light(), Path(name).stem
        if not Path(self.webcam.path).exists():
            raise ValueError("there is no picture yet: look into the camera and press the button that records")
        last = deque((read() for _, read in Video(self.webcam.path)), maxlen=1).pop()
        return photographed(find_portrait(last, "the webcam's picture"), self.size), Light(), "webcam"

    def _new_side(self) -> None:
        """Lets no slider ask for more than skin can do on this side of this face."""
        still, self._face_is_new = MovingFace(self._face, self._motion({}), Camera(self.size)), True
        for unit, control in self.units.items():
            reach = still.reach(self.side + unit) * REFERENCE_SIZE / self.size
            control.max = np.floor(reach / control.step) * control.step
        self._face_is_new = False
        self._new_motion()

    def _new_motion(self) -> None:
        if self._face_is_new:  # its sliders are being bounded
            return
        scale = self.size / REFERENCE_SIZE
        motion = self._motion({self.side + u: scale * s.value for u, s in self.units.items() if s.value})
        self.moving = MovingFace(self._face, motion, Camera(self.size), self._light)
        self.moving.render = lru_cache(16)(self.moving.render)  # type: ignore[method-assign]
        self.controls["frame"][0].max = self.play.max = motion.frames - 1
        if self.frame == motion.apex:
            self._update()
        self.frame = motion.apex  # pictures first: what the model says takes as long again
        self.bars.show(self.model, self.model.logits(self.clip())[0])

    def _motion(self, units: dict[str, float]) -> Motion:
        timing = round(self.duration / 1e3 * FPS), self.rise
        strength = {name: control.value for name, control in self.distractors.items()}
        return Motion.draw(units, Distractors(**strength), [self.person], timing)

    def _update(self) -> None:
        motion, i = self.moving.motion, self.frame
        onset, now, field = self.moving.render(motion.onset), self.moving.render(i), self.moving.displacement(i)
        change, full = difference_frame(onset, now).mean(-1), 3 * self.size / REFERENCE_SIZE
        difference = Pane("difference", values=change, limit=20, unit="grey levels", smooth=True)
        moved = Pane("true motion", values=field, limit=full, kind="flow", unit="px", smooth=True)
        self.pictures.show(Pane("onset", onset), Pane(f"frame {i}", now), difference, moved)
        key = {motion.onset: "onset", motion.apex: "apex", motion.offset: "offset"}.get(i, "")
        size = f"strength {motion.intensity(i):.0%}, largest displacement {np.hypot(*field).max():.2f} px"
        coded = " + ".join(u + self.moving.facs_intensity(u) for u in motion.units) or "nothing"
        time = f"{(i - motion.onset) / FPS * 1e3:.0f} ms after the onset <b>{key}</b>"
        self.story.value = f"FACS {coded}: {time}, {size}"
