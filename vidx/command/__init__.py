"""Verbs, their flags and their help; what the process of a command sets before its work."""
