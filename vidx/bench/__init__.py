"""Benchmarks and claims: whole programs measured side by side."""
