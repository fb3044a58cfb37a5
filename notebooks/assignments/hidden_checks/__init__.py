"""Checks that decide marks. They are no part of the package, so no student has them unless they seek them here.

The sandbox hands a module of them over while a graded cell runs; that cell's own lines are cut from feedback pages.
"""
