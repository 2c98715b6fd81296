"""The frame that all pages share: it needs nothing beside it, and puts texts out as it is told."""

import pytest
from jinja2 import UndefinedError

from diffspeak.text.pages import duration, environment

PAGE = """{% extends "page.html.jinja" %}
{% block looks %}b { color: red; }
{% endblock %}
{% block main %}<p>{{ said }}</p>{% endblock %}
"""


def test_a_page_has_the_frame_and_its_texts_are_escaped(tmp_path):
    (tmp_path / "mine.html.jinja").write_text(PAGE)
    made = environment(tmp_path, lambda value: f"{value}!").get_template("mine.html.jinja")
    page = made.render(title="</title><script>", said="<b>")
    assert page.startswith("<!doctype html>") and "<p>&lt;b&gt;!</p>" in page
    assert "<title>&lt;/title&gt;&lt;script&gt;!</title>" in page
    assert page.index("--page:") < page.index("color: red") < page.index("</style>")
    assert "default-src 'none'" in page and "url(" not in page and "href" not in page


def test_what_a_page_lacks_is_an_error(tmp_path):
    (tmp_path / "mine.html.jinja").write_text(PAGE)
    made = environment(tmp_path, str).get_template("mine.html.jinja")
    with pytest.raises(UndefinedError, match="said"):
        made.render(title="x")


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0.0 s"), (99.9, "99.9 s"), (100, "1.7 min"), (5999, "100.0 min"), (6000, "1.7 h")],
)
def test_a_time_has_its_unit(seconds, told):
    assert duration(seconds) == told
