"""Point-in-time features: functions of a user's past and of labels already known."""
