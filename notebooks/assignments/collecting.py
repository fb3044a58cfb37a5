"""Whose is this file? For `nbgrader zip_collect`: names as Moodle, Canvas and people write them."""

import re
from functools import cached_property
from pathlib import Path

from nbgrader.api import Gradebook
from nbgrader.plugins import FileNameCollectorPlugin

from checking import plain

#: Moodle: "Ada Lovelace_4711_assignsubmission_file_/ps1.ipynb"; Canvas: "lovelaceada_LATE_4711_815_ps1-2.ipynb".
MOODLE = re.compile(r"(?P<who>[^/]+)_\d+_assignsubmission_")
CANVAS = re.compile(r"(?P<who>[^/_]+)_(?:LATE_)?(?P<number>\d+)_\d+_[^/]*$")
#: "ps1 (2)", "ps1-2", "ps1-Copy2": the second of several attempts.
ATTEMPT = re.compile(r"(?:[- ]\(?|-Copy)(\d+)\)?$")


class Collector(FileNameCollectorPlugin):
    """Finds the student of a file by the roster: id, name in either order, or number of the learning platform.

    Whatever the file itself is called, a notebook among the submissions of an assignment is that assignment. Of several
    attempts the last counts. What belongs to nobody is named, and the others are collected.
    """

    def collect(self, submitted_file: str) -> dict[str, str] | None:
        """Whose it is, and for which notebook; nothing where a later attempt is there or nobody is found."""
        path = Path(submitted_file)
        if path.suffix != ".ipynb" or path.name.startswith("."):
            return None
        student = self._student(path)
        if not student:
            self.log.error("%s: not collected, its name says no student: rename it to STUDENT_ps1.ipynb", path)
            return None
        others = [p for p in self._all if self._student(p) == student]
        last = max(others, key=lambda p: (int(match[1]) if (match := ATTEMPT.search(p.stem)) else 0, p.name))
        if last != path:
            self.log.warning("%s: an earlier attempt than %s, not collected", path, last.name)
            return None
        return {"student_id": student, "file_id": self.parent.coursedir.assignment_id}

    @cached_property
    def _all(self) -> list[Path]:
        return sorted(self._root.rglob("*.ipynb"))

    @cached_property
    def _root(self) -> Path:
        return Path(self.parent._format_collect_path(self.parent.extracted_directory))

    @cached_property
    def _roster(self) -> dict[str, str]:
        known = {}
        with Gradebook(self.parent.coursedir.db_url) as book:
            for student in book.students:
                first, last = student.first_name or "", student.last_name or ""
                for name in (student.id, first + last, last + first, student.email or "", student.lms_user_id or ""):
                    known[plain(name)] = student.id
        known.pop("", None)
        return known

    def _student(self, path: Path) -> str:
        name, *folders = reversed(path.relative_to(self._root).parts)
        match = MOODLE.search(str(path.relative_to(self._root))) or CANVAS.match(name)
        found = match.groupdict() if match else {}
        archive = Path(self.parent._format_collect_path(self.parent.archive_directory))
        folders = [f for f in folders if not (archive / f"{f}.zip").exists()]
        names = [found["who"]] if match else [Path(name).stem.rpartition("_")[0], *folders]
        known = [self._roster.get(plain(who)) for who in [found.get("number") or "", *names]]
        student = next(filter(None, known), None)
        who = next(filter(None, names), "")
        if who and not student:
            student = re.sub(r"[^\w.-]+", "_", who.strip()).lstrip("._-")
            self.log.warning("%s: %s is not on the roster, collected as %s", path.name, who, student)
        return student or ""
