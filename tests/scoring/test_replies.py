"""Answers that were kept are read again, whatever became of the file's last line."""

import pytest

from diffspeak.errors import CorruptFileError, LockedError
from diffspeak.scoring.replies import Reply, ReplyCache

ONE, TWO = Reply("one"), Reply("zwei \u00e4", cut=True)


@pytest.fixture
def folder(tmp_path):
    cache = ReplyCache(tmp_path / "new" / "replies")
    with cache.held() as known:
        assert known == {}
        cache.add("1", ONE)
        cache.add("2", TWO)
        assert known == {"1": ONE, "2": TWO}
    return tmp_path / "new" / "replies"


def test_answers_are_lines_that_are_read_again(folder):
    assert (folder / "replies.jsonl").read_bytes().decode() == (
        '{"cut":false,"key":"1","text":"one"}\n{"cut":true,"key":"2","text":"zwei \u00e4"}\n'
    )
    with ReplyCache(folder).held() as known:
        assert known == {"1": ONE, "2": TWO}


def test_no_failure_is_kept_and_no_answer_twice(folder):
    content = (folder / "replies.jsonl").read_bytes()
    cache = ReplyCache(folder)
    with cache.held() as known:
        cache.add("3", Reply(failure="empty", reason="the answer was empty"))
        cache.add("1", TWO)
        assert known == {"1": ONE, "2": TWO}
    assert (folder / "replies.jsonl").read_bytes() == content


@pytest.mark.parametrize("cut", [1, 20])
def test_a_line_that_was_cut_off_is_none_and_makes_room(folder, cut):
    path = folder / "replies.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    cache = ReplyCache(folder)
    with cache.held() as known:
        assert known == {"1": ONE}
        cache.add("2", TWO)
    assert path.read_bytes() == whole


def test_a_line_that_is_cut_off_while_it_is_held_does_not_spoil_the_next(folder):
    path = folder / "replies.jsonl"
    cache = ReplyCache(folder)
    with cache.held():
        with path.open("ab") as file:
            file.write(b'{"cut":fal')
        cache.add("3", ONE)
    with ReplyCache(folder).held() as known:
        assert known == {"1": ONE, "2": TWO, "3": ONE}


def test_what_another_added_or_removed_is_seen(folder):
    mine, other = ReplyCache(folder), ReplyCache(folder)
    with mine.held():
        pass
    with other.held():
        other.add("3", ONE)
    with mine.held() as known:
        assert known == {"1": ONE, "2": TWO, "3": ONE}
        mine.add("4", TWO)
    with other.held() as known:
        assert set(known) == {"1", "2", "3", "4"}
    (folder / "replies.jsonl").unlink()
    with mine.held() as known:
        assert known == {}


def test_only_one_holds_it(folder):
    with ReplyCache(folder).held(), pytest.raises(LockedError), ReplyCache(folder).held():
        pass


@pytest.mark.parametrize(
    "line", ["{}", "nonsense", '{"cut":false,"key":"3","text":7}', '["key","text"]', ""]
)
def test_a_line_that_is_no_reply_is_named(folder, line):
    path = folder / "replies.jsonl"
    path.write_text(line + "\n" + path.read_text())
    with (
        pytest.raises(CorruptFileError, match=r"replies.jsonl, line 1: not a reply; remove"),
        ReplyCache(folder).held(),
    ):
        pass
