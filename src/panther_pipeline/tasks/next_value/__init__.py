"""The next value of an attribute: category, merchant, or whatever the configuration names."""
