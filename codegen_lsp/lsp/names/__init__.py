"""What the names of a document mean: modules, classes, their members, and the values that expressions have."""
