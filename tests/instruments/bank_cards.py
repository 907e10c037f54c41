"""Cards of the Memory Bank on a page, as a user sees and presses them."""

from collections.abc import Callable
from pathlib import Path

from devtools.browser.bench import Bench
from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cache.storage import load_session

# The card in view with this number, or with this name such as "Turn 2".
CARD = """(number) => [...document.querySelectorAll('.memv2v-card-name')].find((name) =>
  ` ${name.textContent}`.endsWith(` ${number}`) && name.closest('.memv2v-card:not([hidden])')
)?.closest('.memv2v-card')"""


def entries(folder: Path) -> tuple[MemoryEntry, ...]:
    return load_session(folder).cache.entries


def shown(bench: Bench) -> Callable[[str], bool]:
    """Wait until the first panel shows a text."""
    return lambda text: bench.wait_until(
        "(text) => document.querySelector('.memv2v-bank')?.innerText.includes(text)", text
    )


def press(bench: Bench, number: int | str, action: str) -> None:
    """Press a button of the card with this number; the list scrolls to it, as a user would."""
    bench.wait_until(
        f"""(number, action) => {{
          const card = ({CARD})(number);
          if (!card) {{
            document.querySelector('.memv2v-grid').scrollTop = 66 * (number - 1);
            return false;
          }}
          card.querySelector(`[data-action=${{action}}]`).click();
          return true;
        }}""",
        number,
        action,
    )


def badges(bench: Bench, number: int | str) -> str:
    """The badges of a card in view; None where it is not."""
    return bench.evaluate(
        f"(number) => ({CARD})(number)?.querySelector('.memv2v-card-badges').innerText ?? null",
        number,
    )


def redo_of(bench: Bench, number: int | str) -> tuple[str, str] | None:
    """State and tooltip of a card's Redo; None where it is hidden.

    The state is on (made again by the next run), off, or disabled.
    """
    found = bench.evaluate(
        f"""(number) => {{
          const button = ({CARD})(number).querySelector('[data-action=redo]');
          if (!button || button.hidden) return null;
          const isOff = button.getAttribute('aria-disabled') === 'true';
          const isOn = button.getAttribute('aria-pressed') === 'true';
          return [isOff ? 'disabled' : isOn ? 'on' : 'off', button.title];
        }}""",
        number,
    )
    return found and tuple(found)


def open_tab(bench: Bench, session: str) -> None:
    """Open the sidebar's tab, or close it, where no session is named."""
    bench.page.get_by_role("button", name="Memory Bank").first.click()
    if session:
        bench.page.locator(".memv2v-bank-choice").select_option(session)
        bench.page.locator(".memv2v-bank-tab .memv2v-card:not([hidden])").first.wait_for()


def answer(bench: Bench, button: str, text: str | None = None) -> None:
    """Answer a dialog of ComfyUI."""
    dialog = bench.page.get_by_role("dialog")
    dialog.wait_for()
    if text is not None:
        dialog.locator("input").fill(text)
    dialog.get_by_role("button", name=button).click()
    dialog.wait_for(state="detached")
