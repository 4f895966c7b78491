"""The ledger: what a transaction is, how a source maps to it, which rows are accepted, how time is split."""
