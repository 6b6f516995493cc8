"""On a phone nothing of the Design form stands beyond the screen."""

from __future__ import annotations

BEYOND = """() => {
  const slides = (e) => ["auto", "scroll"].includes(getComputedStyle(e).overflowX) && e.getBoundingClientRect().right <= innerWidth + 1;
  const scrolls = (e) => {
    for (let p = e.parentElement; p; p = p.parentElement) if (slides(p)) return true;
    return false;
  };
  return [...document.querySelectorAll("body *")].filter((e) => e.checkVisibility()).filter((e) => {
    const box = e.getBoundingClientRect();
    return box.width > 0 && box.height > 0 && box.right > innerWidth + 1 && !scrolls(e);
  }).map((e) => `${e.tagName}.${e.getAttribute("class")} ${Math.round(e.getBoundingClientRect().right)}`).slice(0, 12);
}"""


def test_the_design_form_fits_every_phone(visit):
    page = visit(width=390, height=844)
    page.wait_for_selector(".pg-facts-design dd")
    for width in (320, 360, 390, 430):
        page.set_viewport_size({"width": width, "height": 844})
        page.wait_for_timeout(150)
        assert page.evaluate(BEYOND) == [], width
