"""Presence: is someone in the room, from codes alone, by change against the learned empty room."""

from models.presence.model import NO_FACES, PresenceModel
from models.presence.room import Presence, PresenceConfig, Room
from models.presence.state import PresenceStateError

__all__ = ["NO_FACES", "Presence", "PresenceConfig", "PresenceModel", "PresenceStateError", "Room"]
