"""Builders: any reader's records as ArrayRecord files that TensorFlow Datasets reads, without TensorFlow."""
