"""A decision on one transaction at a time: records of users and counterparties, changed by events as they arrive."""
