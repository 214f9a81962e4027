"""Drives a real VS Code: code-server, and Chromium with its window.

Knows the elements of the workbench and how to wait for them. Every wait is for a condition on the screen or in a
file, with a time limit; there are no fixed delays.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from e2e.editors.install_vscode import VSCode
from playwright.sync_api import Browser, FrameLocator, Locator, Page, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from support.engines import stop

STATUS_ITEM = ".statusbar-item[id$='codegen-lsp.status']"
QUICK_INPUT = ".quick-input-widget:visible"

PATIENCE = 60.0
"""Time limit of a wait, in seconds; long enough for two busy cores."""

QUIET_SETTINGS = {
    "chat.disableAIFeatures": True,
    "extensions.autoCheckUpdates": False,
    "extensions.autoUpdate": False,
    "extensions.ignoreRecommendations": True,
    "editor.minimap.enabled": False,
    "editor.quickSuggestions": {"other": "off", "comments": "off", "strings": "off"},
    "editor.snippetSuggestions": "none",
    "editor.suggestOnTriggerCharacters": False,
    "editor.wordBasedSuggestions": "off",
    "files.autoSave": "off",
    "git.enabled": False,
    "security.workspace.trust.banner": "never",
    "security.workspace.trust.startupPrompt": "never",
    "telemetry.telemetryLevel": "off",
    "update.mode": "none",
    "window.autoDetectColorScheme": False,
    "workbench.enableExperiments": False,
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "workbench.startupEditor": "none",
    "workbench.tips.enabled": False,
}
"""Settings that turn off what disturbs a test, such as other entries in the completion menu."""

READ_SCREEN = """
() => {
  const editor = document.querySelector('.editor-group-container.active .monaco-editor')
    ?? document.querySelector('.monaco-editor')
  const text = (element) => element.textContent.replaceAll('\\u00a0', ' ').replaceAll('\\u200b', '')
  const boxed = (selector) => [...editor.querySelectorAll(selector)].map((element) => {
    const box = element.getBoundingClientRect()
    return { top: Math.round(box.top), left: box.left, text: text(element) }
  })
  if (editor === null) return { ghost: '', lines: {} }
  const spans = boxed('.ghost-text, .ghost-text-decoration, .ghost-text-decoration-preview')
    .sort((a, b) => a.top - b.top || a.left - b.left)
  const height = editor.querySelector('.view-line')?.getBoundingClientRect().height ?? 19
  const rows = []
  for (const span of spans) {
    const row = Math.round((span.top - spans[0].top) / height)
    rows[row] = (rows[row] ?? '') + span.text
  }
  const lines = {}
  const tops = new Map(boxed('.margin-view-overlays .line-numbers').map(({ top, text }) => [top, text.trim()]))
  for (const { top, text } of boxed('.view-lines > .view-line')) if (tops.has(top)) lines[tops.get(top)] = text
  return { ghost: [...rows].map((text) => text ?? '').join('\\n'), lines }
}
"""


def wait_until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Return the first true value of `condition`; fail with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.1)
    return value


class EditorWindow:
    """One window of VS Code, its folder, and the user's settings."""

    def __init__(self, page: Page, folder: Path, settings_file: Path) -> None:
        self.page = page
        self.folder = folder
        self._settings_file = settings_file

    # Settings ------------------------------------------------------------------------------------------

    def configure(self, **settings: Any) -> None:
        """Change the user's settings (`__` in a name stands for a dot); None removes one."""
        changes = {
            name.replace("__", ".").replace("codegen_lsp", "codegen-lsp"): value
            for name, value in settings.items()
        }
        for file in (self._settings_file, self._settings_file.parents[1] / "Machine" / "settings.json"):
            values = json.loads(file.read_text(encoding="utf-8")) | changes
            values = {name: value for name, value in values.items() if value is not None}
            file.write_text(json.dumps(values, indent=2), encoding="utf-8")

    # Files ---------------------------------------------------------------------------------------------

    def open(self, name: str, content: str | bytes, *, line: int, column: int = 1) -> Path:
        """Write a file into the folder, and open it with the cursor at a 1-based position."""
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        self._quick_open(path, f"{name}:{line}:{column}")
        return path

    def _quick_open(self, path: Path, location: str) -> None:
        self._from_list("Control+P", location, path.name)
        self.page.locator(f'.tab.active[data-resource-name="{path.name}"]').wait_for(timeout=PATIENCE * 1000)
        wait_until(lambda: f"Ln {location.split(':')[1]}" in self.cursor(), f"the cursor at {location}")

    def save(self, path: Path) -> bytes:
        """Save the active file and return its content."""
        self.page.keyboard.press("Control+S")
        tab = self.page.locator(f'.tab.active[data-resource-name="{path.name}"]')
        wait_until(lambda: "dirty" not in (tab.get_attribute("class") or ""), f"{path.name} saved")
        return path.read_bytes()

    def reset(self) -> None:
        """Close lists, notifications and all tabs for the next test."""
        self.press("Escape", "Escape")
        self.command("Notifications: Clear All Notifications")
        self.command("View: Close All Editors")
        tabs, unsaved = self.page.locator(".tab"), self.page.get_by_role("button", name="Don't Save")

        def closed() -> bool:
            if unsaved.count():
                unsaved.click()
            return tabs.count() == 0

        wait_until(closed, "all tabs closed")

    def go_to(self, line: int, column: int) -> None:
        """Move the cursor to a 1-based position."""
        self.press("Control+G")
        self.page.locator(f"{QUICK_INPUT} input.input").fill(f":{line}:{column}")
        self.press("Enter")
        wait_until(lambda: self.cursor().startswith(f"Ln {line},"), f"the cursor in line {line}")

    # Keys ----------------------------------------------------------------------------------------------

    def type(self, text: str) -> None:
        """Type a text, key by key."""
        self.page.keyboard.type(text, delay=30)

    def press(self, *keys: str) -> None:
        """Press keys such as `Tab` or `Control+ArrowRight`, one after the other."""
        for key in keys:
            self.page.keyboard.press(key)

    def command(self, title: str) -> None:
        """Run a command of the palette by its title."""
        self._from_list("F1", f">{title}", title)

    def _from_list(self, key: str, text: str, label: str) -> None:
        """Open a list with a key, type into it, and choose an entry; repeat this until it works.

        A new file is not found immediately, and a workbench that restarts its extensions takes the focus away.
        """
        box, row = self.page.locator(f"{QUICK_INPUT} input.input"), self._row(label)
        tries = 0

        def chosen() -> bool:
            nonlocal tries
            tries += 1
            if tries > 1:
                self.press("Escape")
            self.press(key)
            try:
                box.fill(text, timeout=5000)
                row.wait_for(timeout=5000)
                row.click(timeout=5000)
            except PlaywrightTimeout:
                return False
            return True

        wait_until(chosen, f"{label} chosen from a list")

    def _row(self, label: str) -> Locator:
        return self.page.locator(f'{QUICK_INPUT} .monaco-list-row[aria-label*="{label}"]').first

    # Screen --------------------------------------------------------------------------------------------

    def ghost(self) -> str:
        """Return the ghost text on the screen, rows joined by line breaks."""
        return str(self.page.evaluate(READ_SCREEN)["ghost"])

    def settled_ghost(self, *, other_than: str = "", seconds: float = 8.0) -> str:
        """Return the ghost text once it has not changed for half a second; empty if there is none."""
        end, last, since = time.monotonic() + seconds, "", time.monotonic()
        while time.monotonic() < end:
            now = self.ghost()
            if now != last:
                last, since = now, time.monotonic()
            if now not in ("", other_than) and time.monotonic() - since > 0.5:
                return now
            time.sleep(0.05)
        return last

    def line(self, number: int) -> str:
        """Return the line with a 0-based number as it is drawn, with its ghost text."""
        screen = self.page.evaluate(READ_SCREEN)
        return str(screen["lines"].get(str(number + 1), ""))

    def surprise_colours(self) -> set[str]:
        """Return the colours of surprise on the screen."""
        colours = self.page.evaluate(
            """() => [...document.querySelectorAll('.monaco-editor .view-overlays .cdr')]
              .map((element) => getComputedStyle(element).backgroundColor)
              .filter((colour) => colour.startsWith('rgba(220, 60, 20'))"""
        )
        return set(colours)

    def cursor(self) -> str:
        """Return the position of the cursor from the status bar, such as `Ln 3, Col 5`."""
        item = self.page.locator("#status\\.editor\\.selection")
        return item.inner_text() if item.count() else ""

    def status(self) -> str:
        """Return the label for screen readers and the text of the extension's status bar item."""
        item = self.page.locator(STATUS_ITEM)
        if not item.count():
            return ""
        label = item.locator("[aria-label]").first.get_attribute("aria-label") or ""
        return f"{label} | {item.inner_text()}"

    def tooltip(self) -> str:
        """Return the tooltip of the status bar item."""
        self.page.locator(STATUS_ITEM).hover()
        hover = self.page.locator(".monaco-hover:visible").first
        hover.wait_for()
        return hover.inner_text()

    def wait_for_status(self, pattern: str, seconds: float = PATIENCE) -> str:
        """Wait until the status matches, and return it."""
        return str(
            wait_until(
                lambda: (status := self.status()) if re.search(pattern, self.status()) else "",
                f"a status like {pattern!r}",
                seconds,
            )
        )

    def rows(self) -> list[str]:
        """Return the entries of the list that is open at the top (palette, menus)."""
        rows = self.page.locator(f"{QUICK_INPUT} .monaco-list-row")
        return [row.get_attribute("aria-label") or "" for row in rows.all()]

    def pick(self, label: str) -> None:
        """Choose an entry of that list."""
        self._row(label).click()

    def menu(self, choose: str = "") -> list[str]:
        """Open the extension's menu from the status bar, `choose` an entry, and return all entries."""
        self.page.locator(f"{STATUS_ITEM} a").click()
        entries = list(wait_until(self.rows, "the menu"))
        if choose:
            self.pick(choose)
        return entries

    def suggestions(self, seconds: float = 0.0) -> list[str]:
        """Return the entries of the completion menu, once there are some."""
        rows = self.page.locator(".suggest-widget.visible .monaco-list-row")
        end = time.monotonic() + seconds
        while not rows.count() and time.monotonic() < end:
            time.sleep(0.1)
        return [row.get_attribute("aria-label") or "" for row in rows.all()]

    def action(self, text: str) -> Locator:
        """Return an entry of the list of code actions."""
        return self.page.locator(".action-widget .monaco-list-row", has_text=text).first

    def notification(self, text: str) -> Locator:
        """Return a notification that contains `text`."""
        return self.page.locator(".notification-list-item", has_text=text).first

    def last_request(self) -> Locator:
        """Run *Show Last Request*, and return the body of the page."""
        self.command("CodeGen: Show Last Request")
        body = self.webview().locator("body")
        body.locator("h1").wait_for()
        return body

    def webview(self) -> FrameLocator:
        """Return the page inside the visible webview."""
        return self.page.frame_locator("iframe.webview.ready").frame_locator("iframe#active-frame")

    @contextmanager
    def frames(self) -> Iterator[list[dict[str, Any]]]:
        """Record the screen in every frame that the browser draws; the list is filled at the end."""
        self.page.evaluate(
            f"""() => {{
              const read = {READ_SCREEN.strip()}
              const record = []
              const step = () => {{ record.push(read()); window.__next = requestAnimationFrame(step) }}
              window.__record = record
              step()
            }}"""
        )
        frames: list[dict[str, Any]] = []
        try:
            yield frames
        finally:
            frames += self.page.evaluate(
                "() => { cancelAnimationFrame(window.__next); return window.__record }"
            )

    @contextmanager
    def statuses(self) -> Iterator[list[str]]:
        """Record every state of the status bar item; the list is filled at the end."""
        self.page.evaluate(
            """(selector) => {
              const read = () => document.querySelector(selector)?.querySelector('[aria-label]')?.ariaLabel ?? ''
              window.__statuses = [read()]
              window.__observer = new MutationObserver(() => {
                if (window.__statuses.at(-1) !== read()) window.__statuses.push(read())
              })
              const options = { subtree: true, childList: true, attributes: true, characterData: true }
              window.__observer.observe(document.querySelector('.part.statusbar'), options)
            }""",
            STATUS_ITEM,
        )
        labels: list[str] = []
        try:
            yield labels
        finally:
            labels += self.page.evaluate("() => { window.__observer.disconnect(); return window.__statuses }")

    def take_picture(self, path: Path) -> None:
        """Write the window to a PNG file."""
        path.parent.mkdir(exist_ok=True)
        self.page.screenshot(path=path)


@contextmanager
def code_server(
    editor: VSCode,
    extensions: Sequence[Path],
    home: Path,
    settings: Mapping[str, Any],
    environment: Mapping[str, str],
) -> Iterator[tuple[str, Path]]:
    """Run code-server with extensions (`.vsix`); yield its address and the user's settings file."""
    settings_file = _write_settings(home, settings)
    options = ["--user-data-dir", str(home / "data"), "--extensions-dir", str(home / "ext")]
    command = [str(editor.node), str(editor.code_server), *options]
    env = {**os.environ, "PATH": _path(editor), "HOME": str(home), **environment}
    port = _free_port()
    served = ["--auth=none", f"--bind-addr=127.0.0.1:{port}", "--disable-telemetry", "--disable-update-check"]
    installed = [word for vsix in extensions for word in ("--install-extension", str(vsix))]
    with (home / "log").open("wb") as log:
        subprocess.run([*command, *installed], env=env, stdout=log, stderr=log, check=True, timeout=180)
        process = subprocess.Popen(
            [*command, *served], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            address = f"http://127.0.0.1:{port}"
            wait_until(lambda: _answers(f"{address}/healthz"), "code-server up")
            yield address, settings_file
        finally:
            stop(process)


def _write_settings(home: Path, settings: Mapping[str, Any]) -> Path:
    """Write the settings of the user and of the machine; return the user's file."""
    settings_file = home / "data" / "User" / "settings.json"
    settings_file.parent.mkdir(parents=True)
    settings_file.write_text(json.dumps({**QUIET_SETTINGS, **settings}), encoding="utf-8")
    # A window in a browser is a remote one: it reads settings of scope machine from the machine's settings only.
    machine_file = home / "data" / "Machine" / "settings.json"
    machine_file.parent.mkdir()
    machine_file.write_text(json.dumps(settings), encoding="utf-8")
    return settings_file


def _path(editor: VSCode) -> str:
    """Return PATH with Node.js and without the server: an activated environment puts it there."""
    folders = [str(editor.node.parent), *os.environ["PATH"].split(os.pathsep)]
    return os.pathsep.join(folder for folder in folders if not Path(folder, "codegen-lsp").exists())


@contextmanager
def browser(editor: VSCode) -> Iterator[Browser]:
    """Run a headless Chromium."""
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=str(editor.browser), args=[*sandbox, "--disable-gpu", "--disable-dev-shm-usage"]
        )
        try:
            yield launched
        finally:
            launched.close()


def open_window(launched: Browser, address: str, folder: Path, settings_file: Path) -> EditorWindow:
    """Open a window with a folder, and wait until its workbench is drawn."""
    page = launched.new_page(viewport={"width": 1000, "height": 680})
    page.set_default_timeout(PATIENCE * 1000)
    page.goto(f"{address}/?folder={urllib.parse.quote(str(folder))}")
    page.locator(".monaco-workbench .statusbar-item").first.wait_for(timeout=2 * PATIENCE * 1000)
    side_bar = page.locator("#workbench\\.parts\\.sidebar")
    side_bar.wait_for()
    page.keyboard.press("Control+B")
    side_bar.wait_for(state="hidden")
    return EditorWindow(page, folder, settings_file)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
