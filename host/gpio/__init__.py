"""Pins of the Raspberry Pi: trigger, status and source lights, the lens cover's switch, through RPi.GPIO's API."""
