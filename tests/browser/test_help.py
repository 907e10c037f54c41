"""The help page of a node, as its info button opens it."""

from devtools.browser.bench import Bench

INFO = "[data-testid=info-button], [aria-label='Node Info']"
PICTURE = "img[src*='images/VideoFOVRetrieve.webp']"


def test_the_help_of_a_node_shows_its_picture(bench: Bench) -> None:
    bench.add("VideoFOVRetrieve", (400, 300))
    bench.settle()
    bench.page.mouse.click(560, 285)
    bench.page.locator(INFO).first.click()
    bench.page.locator(PICTURE).wait_for()
    bench.wait_until(f'() => document.querySelector("{PICTURE}").naturalWidth > 0')
    assert "Ranks the turns in the cache" in bench.page_text()
