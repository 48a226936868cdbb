"""The camera: picamera2's API, driven so that every frame is what was asked for, or an error that says why not."""
