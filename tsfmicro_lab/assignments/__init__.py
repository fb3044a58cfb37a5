"""Checks of the course's five assignments: they take what a student wrote and say what is wrong with it, and why.

Each check tries random shapes and seeds against an independent formula, knows the mistakes that are really made, and
holds negative controls. The checks that decide marks are in `hidden`, which an installation of students lacks.
"""

from tsfmicro_lab.assignments.checking import CheckFailed, variant

__all__ = ["CheckFailed", "variant"]
