"""The samples of the last weeks, on disk: sorted files that DuckDB reads and rewrites."""
