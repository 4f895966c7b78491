"""The model card: one HTML page that opens without network."""
