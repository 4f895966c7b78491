"""What turns numbers and an embedding into the logit of fraud: one kind per file."""
