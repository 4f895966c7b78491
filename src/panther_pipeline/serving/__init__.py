"""Scores over HTTP: contracts, limits and admission in front of one scorer."""
