"""Elements of the page. Text and attributes are escaped when they are written: nothing a run holds becomes markup."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree.ElementTree import Element, tostring

Child = str | Element | None


def element(tag: str, *children: Child, **attributes: object) -> Element:
    """An element. `class_` stands for class and `data_id` for data-id; attributes that are None are left out."""
    made = Element(tag, {_name(key): str(value) for key, value in attributes.items() if value is not None})
    for child in children:
        if isinstance(child, Element):
            made.append(child)
        elif child is not None and len(made):
            made[-1].tail = (made[-1].tail or "") + child
        elif child is not None:
            made.text = (made.text or "") + child
    return made


def table(head: Iterable[Child], rows: Iterable[Iterable[Child]], *, caption: str) -> Element:
    """A table whose rows begin with their name, in a box that scrolls sideways."""
    body = [
        element("tr", element("th", first, scope="row"), *(element("td", cell) for cell in rest))
        for first, *rest in rows
    ]
    heading = element("tr", *(element("th", cell, scope="col") for cell in head))
    made = element("table", element("caption", caption), element("thead", heading), element("tbody", *body))
    return element("div", made, class_="scroll", tabindex=0, role="region", aria_label=caption)


def number(value: float | int) -> Element:
    """A number in a few digits; all of them are in its `value`."""
    return element("data", shown(value), value=repr(value))


def shown(value: float | int) -> str:
    """A whole number with all its digits, another with five."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.5g}"


def html(made: Element) -> str:
    """The element as HTML."""
    return tostring(made, encoding="unicode", method="html")


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")
