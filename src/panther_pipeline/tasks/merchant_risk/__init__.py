"""Merchant risk: which counterparties will see a fraud soon, from how far their customers deviated from themselves.

Source: PANTHER (arXiv 2510.10102), section 4.1.3.
"""
