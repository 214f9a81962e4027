"""One package or module for each benchmark, and the figures that others published."""
