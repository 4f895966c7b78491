"""The scorer as an MLflow model: saved without pickles, registered, and named champion when it is better."""
