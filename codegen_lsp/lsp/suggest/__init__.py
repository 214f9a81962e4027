"""From a cursor to ranked edits: generation, filters, ranking, caches."""
