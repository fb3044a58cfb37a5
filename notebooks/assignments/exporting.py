"""Marks for a learning platform: `nbgrader export --exporter=exporting.Moodle`, or `exporting.Canvas`."""

import csv
from pathlib import Path

from nbgrader.api import Gradebook, MissingEntry
from nbgrader.plugins import ExportPlugin


class _Table(ExportPlugin):
    """One row per student, one column per assignment; empty where nothing is marked or something still waits."""

    name = ""
    first: tuple[str, ...] = ()

    def export(self, gradebook: Gradebook) -> None:
        """Writes the table."""
        assignments = [a for a in gradebook.assignments if not self.assignment or a.name in self.assignment]
        target = Path(self.to or f"{self.name}.csv")
        with target.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            for row in self.heads(assignments):
                table.writerow(row)
            for student in gradebook.students:
                if not self.student or student.id in self.student:
                    scores = [score(gradebook, a.name, student.id) for a in assignments]
                    table.writerow([*map(plain_text, self.who(student)), *scores])
        self.log.warning("%s: import this file; what is empty there is not marked yet, or was not handed in", target)

    def heads(self, assignments: list) -> list[list[str]]:
        """The first rows."""
        return [[*self.first, *(a.name for a in assignments)]]

    def who(self, student: object) -> list[str]:
        """The first columns."""
        raise NotImplementedError


class Moodle(_Table):
    """Grades → Import → CSV file; Moodle finds people by email address or ID number."""

    name, first = "moodle", ("First name", "Last name", "ID number", "Email address")

    def who(self, student) -> list[str]:
        """As Moodle's own export has them."""
        return [student.first_name, student.last_name, student.id, student.email]


class Canvas(_Table):
    """Grades → Import; Canvas finds people by its own number (lms_user_id on the roster) or by the login."""

    name, first = "canvas", ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")

    def heads(self, assignments: list) -> list[list[str]]:
        """Canvas wants the points possible in the second row."""
        points = ["    Points Possible", "", "", "", "", *(f"{a.max_score:g}" for a in assignments)]
        return [*super().heads(assignments), points]

    def who(self, student) -> list[str]:
        """As Canvas's own export has them."""
        name = ", ".join(filter(None, [student.last_name, student.first_name])) or student.id
        return [name, student.lms_user_id, student.id, student.email or student.id, ""]


def score(book: Gradebook, assignment: str, student: str) -> str:
    """Points less the late penalty; nothing where a mark is missing."""
    try:
        submission = book.find_submission(assignment, student)
    except MissingEntry:
        return ""
    grades = [grade for notebook in submission.notebooks for grade in notebook.grades]
    if any(g.auto_score is None and g.manual_score is None for g in grades):
        return ""
    return f"{max(submission.score - submission.late_submission_penalty, 0):g}"


def plain_text(value: str | None) -> str:
    """A cell that no spreadsheet takes for a formula.

    Example:
        >>> plain_text("=1+1"), plain_text("Ada")
        ("'=1+1", 'Ada')
    """
    text = value or ""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
