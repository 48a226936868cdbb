"""Pins of the computer: trigger, status light, point source, lens cover; through RPi.GPIO's API."""
