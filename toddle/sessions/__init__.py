"""`toddle sessions`: a file for each verb, or for a few that belong together."""
