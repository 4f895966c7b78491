from panther_pipeline.online.recent_users import RecentUsers


def test_newest_users_are_kept_once_each():
    recent = RecentUsers(3)
    for user_id in "abcab":
        recent.note([user_id])
    assert list(recent) == ["b", "a", "c"]
    recent.note(["d", "e"])
    assert list(recent) == ["e", "d", "b"]


def test_one_long_list_does_not_outgrow_the_limit():
    recent = RecentUsers(2)
    recent.note(str(i) for i in range(1000))
    assert list(recent) == ["999", "998"]
