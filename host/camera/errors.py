"""What can go wrong with a camera: each error says what was seen and what to do."""


class CameraError(Exception):
    """Base of all of them. `latched`: trying again by itself does not help; `name` is the fault's short name."""

    name = "camera_error"
    latched = False


class CameraMissing(CameraError):  # noqa: N818 - reads as what happened, like the board's errors
    """No such camera, or no software for one. The message says which and what to install or plug in."""

    name = "no_camera"
    latched = True


class CameraBusy(CameraError):  # noqa: N818
    """Another program has the camera; the message names it where it can."""

    name = "camera_busy"


class CameraUnsuitable(CameraError):  # noqa: N818
    """The camera has no raw mode that fits what the encoding needs."""

    name = "camera_unsuitable"
    latched = True


class CameraHung(CameraError):  # noqa: N818
    """No frame within the deadline: a loose cable, or a hung driver. Recovery is a new process with a new camera."""

    name = "camera_hung"


class CameraLost(CameraError):  # noqa: N818
    """The camera failed while it was used: cable out, request cancelled, an error of the driver."""

    name = "camera_lost"


class ControlsIgnored(CameraError):  # noqa: N818
    """Exposure or gain never became what was asked for: its pictures cannot be trusted to mean what they should."""

    name = "controls_ignored"
