"""Serve a team: its users and their limits, what they have used, and how the engine fares."""
