"""What other files of the workspace say about the code at a cursor: found in the background, shown to the model."""
