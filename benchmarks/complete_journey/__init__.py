"""What the two Complete Journey benchmarks share: tables, cuts, intervals, and how a product model becomes a row."""
