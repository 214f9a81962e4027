"""Steps of few tokens at addresses that stay, so that a GPU replays them without Python."""
