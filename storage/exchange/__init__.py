"""Recordings of other systems become sessions, and sessions become what other systems read."""
