"""The picture of a report in the README: the page's first screen, down to the end of the trade-off, in 256 colours.

python scripts/screenshot_report.py report.html docs/report.png [--dark]
"""

import argparse
import io
import os
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

WIDTH = 1280
MARGIN = 32
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def screenshot(report: Path, *, dark: bool) -> bytes:
    """PNG of the page, as wide as a laptop's window."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit(f"no browser: install one of {', '.join(BROWSERS)}")
    rootless = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser, args=rootless)
        page = chromium.new_page(
            viewport={"width": WIDTH, "height": 1000}, color_scheme="dark" if dark else "light", reduced_motion="reduce"
        )
        page.goto(report.resolve().as_uri())
        page.wait_for_selector(".key .swatch path", state="attached")  # the last of what is drawn
        section = page.locator("#trade-off .group").first.bounding_box()
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": section["y"] + section["height"] + MARGIN}
        picture = page.screenshot(clip=clip, full_page=True)
        chromium.close()
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--dark", action="store_true")
    options = parser.parse_args()
    picture = Image.open(io.BytesIO(screenshot(options.report, dark=options.dark))).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(options.picture, optimize=True)
    print(f"{options.picture}: {picture.width} x {picture.height}, {options.picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
