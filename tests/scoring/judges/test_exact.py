"""Five for the same words, one for others."""

from diffspeak.scoring import ExactJudge


def test_only_the_same_words_are_5():
    pairs = [("Chess", "chess."), ("Chess", "Chess openings"), ("Chess", ""), ("Chess", None)]
    assert [verdict.score for verdict in ExactJudge().score(pairs)] == [5, 1, 1, None]
    assert ExactJudge().score([]) == []
