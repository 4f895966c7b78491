"""Simple next-transaction predictors every model must beat."""
