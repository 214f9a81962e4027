"""Points of a survey. The function at the end has no body yet."""

import json
import math


def distance(first: dict, second: dict) -> float:
    """Return the distance between two points."""
    return math.hypot(first["x"] - second["x"], first["y"] - second["y"])


def save_points(path: str, points: list[dict]) -> None:
    """Write a list of points into a JSON file."""
    with open(path, "w") as file:
        json.dump(points, file)


def load_points(path: str) -> list[dict]:
    """Read the list of points from a JSON file."""
