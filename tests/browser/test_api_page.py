"""Gradio's page of the API: reached from the foot of the page, and by its address."""

from tests.patience import page_patience_s


def test_the_page_of_the_api_is_reached_and_names_types_and_arguments(chromium, app):
    """Its request for figures that are not served here is an error in the console, so this page is not one of `visit`."""
    context = chromium.new_context()
    context.set_default_timeout(1000 * page_patience_s())
    outside: list[str] = []
    context.on("request", lambda r: None if r.url.startswith((app.url, "data:", "blob:")) else outside.append(r.url))
    page = context.new_page()
    page.goto(f"{app.url}#tab=runs")
    page.wait_for_selector("#status .pg-brand")
    with context.expect_page() as opened:
        page.click("#api-link a")
    docs = opened.value
    docs.wait_for_selector(".api-docs")
    docs.wait_for_selector("text=/wait_run")
    words = docs.inner_text(".api-docs")
    assert "owner_key: str  # the key that steers it" in words and "One of /presets." in words
    assert "tab=runs" in page.url and not outside
    context.close()
