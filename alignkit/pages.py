"""An HTML page that needs nothing else, and that nothing which a text slips in can make fetch or run anything."""

import base64
import hashlib
from html import escape


def document(title: str, style: str, body: str, script: str = "") -> str:
    """The whole page.

    A content security policy forbids all scripts but `script`, which is named by its hash, all addresses but pictures
    within the page, and forms that send.

    Args:
        title: text.
        style: CSS.
        body: HTML, in which all that others wrote is escaped.
        script: JavaScript that runs after the body.
    """
    rules = [
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        "form-action 'none'",
        "base-uri 'none'",
    ]
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        rules.append(f"script-src 'sha256-{digest}'")
        body += f"\n<script>{script}</script>"
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{"; ".join(rules)}">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{escape(title)}</title>\n<style>{style}</style>\n'
        f"</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
