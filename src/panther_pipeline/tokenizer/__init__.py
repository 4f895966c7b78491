"""Structured tokenization: attributes are discretised, their combination is the token (PANTHER §3.2)."""
