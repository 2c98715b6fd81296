"""Reads a page as a browser would: its tags, addresses, and what stands in it as text."""

from html.parser import HTMLParser

VOID = {"meta", "img", "br", "link"}


class Seen(HTMLParser):
    """What is in a page.

    Attributes:
        tags: Of all elements, in order.
        attributes: Of all elements, (name, value).
        texts: Of each text node, without space around it.
        unclosed: Elements that were not closed, or closed in another order.
        isolated: Text within `bdi`.
        outside: Text that is not.
        text: All of it in a row.
    """

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], []
        self.isolated, self.outside = [], []
        self._open, self.unclosed = [], []
        self.feed(page)
        self.close()
        self.unclosed += self._open
        self.text = " ".join(self.texts)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        if not self._open or self._open.pop() != tag:
            self.unclosed.append(tag)

    def handle_data(self, data):
        if "style" in self._open or not data.strip():
            return
        self.texts.append(" ".join(data.split()))
        (self.isolated if "bdi" in self._open else self.outside).append(data)

    def addresses(self):
        return [value for name, value in self.attributes if name in ("href", "src", "srcset")]
