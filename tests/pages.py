"""Reading an HTML page as a browser does: what is text, and what is not."""

from html.parser import HTMLParser


class Read(HTMLParser):
    """Text, elements and attributes of a page."""

    def __init__(self, text):
        super().__init__()
        self.words, self.elements, self.attributes = "", [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words += data
