"""How the data sets of the field lie on disk, faults included: what look-alikes are written by.

This is written down apart from the data cards on purpose: a loader reads by its card, a look-alike is written by this,
and a test that joins the two finds a mistake in either.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

Values = Mapping[str, object]


@dataclass(frozen=True)
class Sheet:
    """A sheet of a table.

    Attributes:
        file: Name of the table.
        name: Name of the sheet.
        columns: Header and cell of each column, `Subject: {subject} | Onset: {onset}`; a cell of braces alone stays a
            number. A sheet without columns is empty.
        preamble: Lines of text above the header.
        key: The first of them.
        headless: Whether the header is left out.
        once: Column whose values come once; all rows are written where none is named.
    """

    file: str
    name: str
    columns: str = ""
    preamble: int = 0
    key: tuple[str, ...] = ()
    headless: bool = False
    once: int | None = None

    @property
    def cells(self) -> list[tuple[str, str]]:
        """Header and template of each column."""
        parts = (column.partition(":") for column in self.columns.split("|"))
        return [(name.strip(), cell.strip()) for name, _, cell in parts]


@dataclass(frozen=True)
class Mistake:
    """A row that is as the release has it.

    Attributes:
        true: What is true of the clip.
        written: What the table says instead.
    """

    true: Values
    written: Values = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """A data set as it lies on disk.

    Attributes:
        fps: Frames per second.
        frame: Template of the path of a frame.
        subject: Template of a subject, of its number `s`.
        clip: Template of a clip, of the numbers `s` and `c` and whatever else is known.
        emotions: Synthetic emotion → emotion of the data set; a clip whose emotion is not named is left out.
        sheets: The tables.
        spelling: Emotion → as the table spells it.
        start: Number of the first onset; further clips follow it.
        margin: Frames on disk before the onset and after the offset.
        mistakes: Rows with the faults of the release.
    """

    fps: float
    frame: str
    subject: str
    clip: str
    emotions: Mapping[str, str]
    sheets: tuple[Sheet, ...] = ()
    spelling: Mapping[str, str] = field(default_factory=dict)
    start: int = 46
    margin: int = 2
    mistakes: tuple[Mistake, ...] = ()


_NAMES = ("happiness", "disgust", "repression", "surprise", "others")


def _emotions(*names: str) -> dict[str, str]:
    return {ours: theirs for ours, theirs in zip(_NAMES, names, strict=True) if theirs}


def _key_frames(subject: str, clip: str, onset: int, apex: int, offset: int, **more: object) -> dict[str, object]:
    return {"subject": subject, "clip": clip, "onset": onset, "apex": apex, "offset": offset, **more}


_CASME2 = (
    "Subject: {subject} | Filename: {clip} | : | OnsetFrame: {onset} | ApexFrame: {apex} | "
    "OffsetFrame: {offset} | : | Action Units: {units} | Estimated Emotion: {emotion}"
)
_DFME = (
    "Subject: {subject} | Filename: {clip} | OnsetFrame: {onset} | ApexFrame: {apex} | "
    "OffsetFrame: {offset} | Emotion: {emotion} | EmotionId: 0 | Fps: {fps} | AU: {units}"
)

LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "casme": Layout(
            fps=60,
            frame="CASME_raw_selected/sub{subject}/{clip}/{clip}-{n}.jpg",
            subject="{s:02d}",
            clip="EP{c:02d}_{c}",
            emotions=_emotions("happiness", "disgust", "repression", "surprise", "tense"),
            sheets=(
                Sheet(
                    "CASME-coded-20190721.xls",
                    "Sheet1",
                    (
                        "Subject: {subject} | Filename: {clip} | : | OnsetF: {onset} | ApexF1: {apex} | "
                        "ApexF2: \\ | OffsetF: {offset} | : | Onset: 0 | Total: 0 | AU: {units} | "
                        "Emotion: {emotion}"
                    ),
                ),
            ),
            mistakes=(Mistake(_key_frames("05", "EP12_3", 80, 88, 99), {"apex": "\\"}),),
        ),
        "casme2": Layout(
            fps=200,
            frame="CASME2_RAW_selected/sub{subject}/{clip}/img{n}.jpg",
            subject="{s:02d}",
            clip="EP{c:02d}_01f",
            emotions=_emotions("happiness", "disgust", "repression", "surprise", "others"),
            sheets=(
                Sheet("CASME2-coding-20140508.xlsx", "Sheet1", _CASME2),
                Sheet("CASME2-coding-20190701.xlsx", "Sheet1", _CASME2 + " | Objective Classes: {objective}"),
                Sheet("CASME2-coding-20190701.xlsx", "Sheet2"),
                Sheet(
                    "CASME2-ObjectiveClasses.xlsx",
                    "Sheet1",
                    "Subject: {subject} | Filename: {clip} | Objective Class: {objective}",
                ),
            ),
            mistakes=(
                Mistake(_key_frames("04", "EP12_01f", 261, 300, 321, emotion="disgust"), {"apex": "/", "units": "4+7"}),
                Mistake(_key_frames("05", "EP09_05f", 60, 80, 99, emotion="disgust"), {"units": "?"}),
                Mistake(_key_frames("06", "EP06_02_01", 60, 80, 99, emotion="disgust"), {"units": "4+7+L10"}),
            ),
        ),
        "casmesq": Layout(
            fps=30,
            frame="rawpic/s{folder}/{folder}_010{c}disgustingteeth/img{n}.jpg",
            subject="{s}",
            clip="disgust{c}_1",
            emotions=_emotions("positive", "negative", "negative", "surprise", "others"),
            sheets=(
                Sheet(
                    "CAS(ME)^2code_final(Updated).xlsx",
                    "CASFEcode_final",
                    (
                        ": {s} | : {clip} | : {onset} | : {apex} | : {offset} | : {units} | : {emotion} | "
                        ": {kind} | : disgust"
                    ),
                    headless=True,
                ),
                Sheet(
                    "CAS(ME)^2code_final(Updated).xlsx",
                    "naming rule1",
                    ": {folder} | : s{folder} | : {s}",
                    headless=True,
                    once=2,
                ),
                Sheet(
                    "CAS(ME)^2code_final(Updated).xlsx",
                    "naming rule2",
                    ": 010{c} | : disgust{c}",
                    headless=True,
                    once=1,
                ),
            ),
            mistakes=(
                Mistake(_key_frames("3", "disgust7_1", 557, 560, 560, s=3, c=7, folder=17), {"offset": 0}),
                Mistake(
                    _key_frames("3", "disgust8_1", 100, 120, 160, s=3, c=8, folder=17), {"kind": "macro-expression"}
                ),
            ),
        ),
        "casme3": Layout(
            fps=30,
            frame="{subject}/{clip}/color/{n}.jpg",
            subject="spNO.{s}",
            clip="a",
            emotions=_emotions("happiness", "disgust", "sadness", "surprise", "others"),
            spelling={"happiness": "happy", "sadness": "sad"},
            sheets=(
                Sheet(
                    "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx",
                    "label",
                    (
                        "Subject: {subject} | Filename: {clip} | Onset: {onset} | Apex: {apex} | "
                        "Offset: {offset} | AU: {units} | Objective class: {roman} | emotion: {emotion}"
                    ),
                ),
                Sheet("cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", "Sheet1"),
            ),
            start=355,
            mistakes=(
                Mistake(_key_frames("spNO.149", "d", 112, 118, 124), {"apex": 83, "units": "4，R7"}),
                Mistake(_key_frames("spNO.214", "c", 5, 9, 15), {"apex": 5, "offset": 3460}),
                Mistake(_key_frames("spNO.216", "d", 2647, 2668, 2680), {"onset": 3647}),
                Mistake(_key_frames("spNO.216", "e", 20, 24, 30), {"onset": 0, "apex": 0}),
                Mistake(_key_frames("spNO.40", "e", 20, 24, 24), {"offset": 0, "emotion": "Others"}),
                Mistake(_key_frames("spNO.40", "J", 50, 54, 60), {"units": "13?"}),
            ),
        ),
        "samm": Layout(
            fps=200,
            frame="{subject}/{clip}/{subject}_{n:05d}.jpg",
            subject="{s:03d}",
            clip="{s:03d}_{c}_2",
            emotions=_emotions("happiness", "disgust", "contempt", "surprise", "other"),
            spelling={n: n.capitalize() for n in ("happiness", "disgust", "contempt", "surprise", "other", "anger")},
            sheets=(
                Sheet(
                    "SAMM_Micro_FACS_Codes_v2.xlsx",
                    "MICRO_ONLY",
                    (
                        "Subject: {subject} | Filename: {clip} | Inducement Code: 1 | Onset Frame: {onset} | "
                        "Apex Frame: {apex} | Offset Frame: {offset} | Duration: =F15-D15+1 | "
                        "Micro: Micro - 1/2 | Action Units: {units} | Estimated Emotion: {emotion} | "
                        "Objective Classes: {objective} | Notes:"
                    ),
                    preamble=13,
                    key=("Codes", "U = unilateral", "AU 4 = brow lowerer"),
                ),
            ),
            start=5562,
            mistakes=(
                Mistake(_key_frames("028", "028_4_1", 1090, 1105, 1134), {"apex": 1143, "units": "L12 or L14"}),
                Mistake(_key_frames("032", "032_3_1", 4896, 4945, 4970), {"apex": 1930, "units": "ref(7B)+43"}),
                Mistake(_key_frames("032", "032_3_2", 5110, 5130, 5150), {"apex": 5127, "units": "R14+17+soft focus"}),
                Mistake(_key_frames("013", "013_1_9", 5700, 5720, 5739), {"offset": 5759, "units": "12+15 "}),
                Mistake(_key_frames("013", "013_1_12", 740, 760, 780, frame="{subject}/{clip}/{subject}_{n}.jpg")),
            ),
        ),
        "smic": Layout(
            fps=100,
            frame="HS/s{subject}/micro/{emotion}/{clip}/image{n}.jpg",
            subject="{s}",
            clip="s{s}_{token}_{c:02d}",
            emotions=_emotions("positive", "negative", "negative", "surprise", "negative"),
            start=559740,
            margin=0,
        ),
        "mmew": Layout(
            fps=90,
            frame="Micro_Expression/{folder_emotion}/{clip}/{n}.jpg",
            subject="S{s:02d}",
            clip="S{s:02d}-01-{c:03d}",
            emotions=_emotions("happiness", "disgust", "anger", "surprise", "others"),
            sheets=(
                Sheet(
                    "MMEW_Micro_Exp.xlsx",
                    "Sheet1",
                    (
                        "Subject: {subject} | Filename: {clip} | OnsetFrame: {onset} | ApexFrame: {apex} | "
                        "OffsetFrame: {offset} | Action Units: {units} | Estimated Emotion: {emotion} | "
                        "remarks:"
                    ),
                ),
            ),
            start=3,
            mistakes=(Mistake(_key_frames("S09", "S09-01-001", 3, 9, 15), {"apex": 40}),),
        ),
        "4dme": Layout(
            fps=60,
            frame="gray_micro/{subject}/{clip}/{n}.jpg",
            subject="{s}",
            clip="m{c}",
            emotions=_emotions("positive", "negative", "repression", "surprise", "others"),
            spelling={n: n.capitalize() for n in ("positive", "negative", "repression", "surprise", "others")},
            sheets=(
                Sheet(
                    "4DME_Labelling_Micro_release v1.xlsx",
                    "Sheet1",
                    (
                        "sub_ID: {subject} | fold_name: {clip} | Emotion: {emotion} | Onset: {onset} | "
                        "Apex: {apex} | Offset: {offset} | AUs: {units}"
                    ),
                ),
            ),
            mistakes=(
                Mistake(_key_frames("9", "m1", 46, 50, 60), {"emotion": "Negative+Repression", "units": "(4)+R12"}),
            ),
        ),
        "dfme": Layout(
            fps=500,
            frame="{clip}/{n}.jpg",
            subject="sub{s:04d}",
            clip="sub{s:04d}_{c:02d}",
            emotions=_emotions("happiness", "disgust", "sadness", "surprise", "contempt"),
            sheets=tuple(
                Sheet(f"{part}_full_with_AU.xlsx", "Sheet1", _DFME) for part in ("training", "testA", "testB")
            ),
            start=3,
        ),
    }
)
