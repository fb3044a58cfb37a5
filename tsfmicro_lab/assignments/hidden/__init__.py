"""Checks that decide marks. An installation of students lacks this folder, and nothing of it is shown to them.

The sandbox hands a module of it over while a graded cell runs; the cell's own lines are cut from feedback pages.
"""
