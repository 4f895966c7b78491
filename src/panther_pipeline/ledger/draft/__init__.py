"""A first description of a ledger from a look at its file: sniff → sample → profile → propose → write.

Nothing here decides for good. What is written says what was seen, and marks with `# unsure:` what has to be looked at.
"""

from panther_pipeline.ledger.draft.draft import Draft, draft_ledger, save_draft

__all__ = ["Draft", "draft_ledger", "save_draft"]
