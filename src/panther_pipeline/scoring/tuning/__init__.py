"""Fine-tuning of the backbone itself, together with the fraud head that reads it."""
