"""Source text around a cursor: positions, languages, lines, statements, syntax."""
