"""Heads that read the user's recent transactions beside the cached vector, and what the served head learns of them."""
