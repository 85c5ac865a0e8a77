"""What each table for people shows: fields with their units, intervals and notes."""
