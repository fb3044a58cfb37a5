"""A data set of JPEG frames on disk, written from another one."""

from dataclasses import replace
from pathlib import Path

import cv2

from tsfmicro_lab.clips import LazyFrames, read_image


class JpegClips:
    def __init__(self, data, folder: Path) -> None:
        self.name, self.annotations, self.classes, self.report = "jpegs", data.annotations, data.classes, data.report
        self.clips = []
        for row in range(len(data)):
            clip = data[row]
            place = folder / clip.subject / clip.name
            place.mkdir(parents=True)
            paths = [place / f"{i:04d}.jpg" for i in range(len(clip.frames))]
            for i in (clip.onset, clip.apex):
                cv2.imwrite(str(paths[i]), cv2.cvtColor(clip.frame(i), cv2.COLOR_RGB2BGR))
            self.clips.append(replace(clip, frames=LazyFrames(read_image, paths), truth=None))

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int):
        return self.clips[index]
