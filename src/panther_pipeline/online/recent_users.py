"""The users that were met last: a short list to look at, held in memory alone."""

from collections.abc import Iterable


class RecentUsers:
    """Ids of the last `limit` users, newest first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._users: dict[str, None] = {}  # oldest first

    def note(self, user_ids: Iterable[str]) -> None:
        """These were met, one after the other.

        Example:
            >>> recent = RecentUsers(2)
            >>> recent.note(["a", "b", "a", "c"])
            >>> list(recent)
            ['c', 'a']
        """
        for user_id in user_ids:
            self._users.pop(user_id, None)
            self._users[user_id] = None
        while len(self._users) > self._limit:
            del self._users[next(iter(self._users))]

    def __iter__(self):
        return reversed(list(self._users))
