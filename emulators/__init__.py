"""Devices that are not there: what answers on the wire as the real ones do, for tests and for whoever has no robot yet."""
