"""A place for one item between two threads: the giver waits while it is full, the taker while it is empty."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Channel(Generic[Item]):
    """Hands items over one at a time, in order. `notify` is called after each change that a waiting select must see."""

    def __init__(self, notify: Callable[[], None] = lambda: None) -> None:
        self._changed = threading.Condition()
        self._item: Item | None = None
        self._ended = False
        self._notify = notify

    @property
    def ended(self) -> bool:
        """Nothing is in it and nothing will come."""
        with self._changed:
            return self._ended and self._item is None

    def put(self, item: Item) -> bool:
        """Wait for space and leave the item. False, at once, when nobody will take it any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is None or self._ended)
            if self._ended:
                return False
            self._item = item
            self._changed.notify_all()
        self._notify()
        return True

    def get(self) -> Item | None:
        """Wait for an item and take it; None when no more will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._ended)
            return self._taken()

    def poll(self) -> Item | None:
        """The item that lies there, taken, or None."""
        with self._changed:
            return self._taken()

    def end(self) -> None:
        """No more items will come; one that lies there can still be taken."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._notify()

    def close(self) -> None:
        """Nobody takes items any more: drop what is there and free whoever waits."""
        with self._changed:
            self._item = None
        self.end()

    def _taken(self) -> Item | None:
        item, self._item = self._item, None
        self._changed.notify_all()
        return item
