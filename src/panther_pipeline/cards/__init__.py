"""Card numbers: found in any text, replaced by a keyed token or masked. Used by ingestion and by the service."""
