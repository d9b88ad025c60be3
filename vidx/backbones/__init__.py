"""Trunks: networks made of `vidx.nn` whose places for blocks have names."""
