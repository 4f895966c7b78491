"""From features and embeddings to a calibrated probability."""
