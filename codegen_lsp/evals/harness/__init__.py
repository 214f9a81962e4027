"""What the benchmarks share: an engine to ask, retries, judges, records on disk, reports, statistics."""
