"""Answers to the questions of the assignments: see `assignments.mutants`."""
