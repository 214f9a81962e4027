"""What the benchmarks share: engine, retries, records, reports, statistics."""
