"""What the model learned about every user, stored for later decisions (PANTHER §3.4)."""
