"""What emulators complain of. One line: what is wrong, where, what to try."""


class EmulatorError(Exception):
    """It cannot begin: a folder, a port or a video is not to be had."""


class FaultError(EmulatorError):
    """There is no such fault, motor or camera."""
