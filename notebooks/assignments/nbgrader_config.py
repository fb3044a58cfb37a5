"""The course, for nbgrader's own commands: run them in this folder, or in a copy of it."""

import os
import sys

c = get_config()
here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
sys.path.insert(0, here)  # where repair, marking, harmless, … are
# nbgrader looks for a program of its database on the path, activated or not.
os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])  # noqa: PTH120

c.CourseDirectory.course_id = "tsfmicro"
c.CourseDirectory.root = here

# What contains student code: "bwrap" (Linux), "podman" or "docker" (see Containerfile), "trust" (nothing does).
c.ContainedKernelManager.tool = "bwrap"
c.ContainedKernelManager.memory = 4096  # megabytes of a submission
c.Execute.timeout = 60  # seconds for a cell
c.Contained.seconds = 300  # and for a notebook

# Points after the due date stay (nbgrader db assignment add ps1 --duedate="2026-11-02 23:59"); "zero" takes all.
c.LateSubmissionPlugin.penalty_method = "none"

# How much help a notebook holds: "guided", "normal" or "open"; also --Level.level=guided for once.
c.Level.level = "normal"
c.GenerateAssignment.preprocessors = [
    "nbgrader.preprocessors.LockCells",
    "nbgrader.preprocessors.ClearSolutions",
    "levels.Level",  # hints and steps
    "nbgrader.preprocessors.ClearOutput",
    "nbgrader.preprocessors.CheckCellMetadata",
    "nbgrader.preprocessors.ComputeChecksums",
    "nbgrader.preprocessors.SaveCells",
    "nbgrader.preprocessors.ClearHiddenTests",
    "nbgrader.preprocessors.ComputeChecksums",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.ClearSolutions.text_stub = "*Your answer: double-click here, write, press Shift and Enter.*"
c.ZipCollectApp.collector_plugin = "collecting.Collector"
c.OverwriteCells.add_missing_cells = True
c.Autograde.sanitize_preprocessors = [
    "repair.Repair",  # answers go back to where they belong
    "nbgrader.preprocessors.ClearOutput",
    "nbgrader.preprocessors.DeduplicateIds",
    "nbgrader.preprocessors.OverwriteKernelspec",
    "nbgrader.preprocessors.OverwriteCells",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.Autograde.autograde_preprocessors = [
    "marking.Contained",  # in bubblewrap; a point where a check said so
    "harmless.Harmless",  # before anybody opens it
    "nbgrader.preprocessors.LimitOutput",
    "nbgrader.preprocessors.SaveAutoGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.GenerateFeedback.preprocessors = [
    "nbgrader.preprocessors.GetGrades",
    "harmless.ForStudents",  # no text of hidden tests
    "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor",
]
