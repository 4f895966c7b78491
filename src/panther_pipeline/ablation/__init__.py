"""A grid of models on the same ledger: declared, trained, ranked on the same targets, told apart in one table."""
