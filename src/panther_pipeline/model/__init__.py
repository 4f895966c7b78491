"""The behaviour model: a causal transformer with a Sequence Pattern Recognition Module (PANTHER §3.3)."""
