"""Presence: is someone in the room, from codes alone, by change against the learned empty room."""

from models.presence.model import NO_FACES, PresenceModel
from models.presence.room import Presence, PresenceConfig, Room
from models.presence.state import PresenceStateError

# Of what this package answers to the same codes. Every score of presence names it: whoever changes an answer raises it
# by one, and numbers that were measured before are then shown as another version's.
VERSION = 1

__all__ = ["NO_FACES", "VERSION", "Presence", "PresenceConfig", "PresenceModel", "PresenceStateError", "Room"]
