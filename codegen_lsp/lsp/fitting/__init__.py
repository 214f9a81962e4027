"""Fit a completion's text to its place: where it stops, how it is indented, what it repeats."""
