"""Execution: take an approved strategy to its customers, once."""
