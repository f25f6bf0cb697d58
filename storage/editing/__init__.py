"""New sessions made of others, and splits: lists of ranges over a session that stays as it is."""
