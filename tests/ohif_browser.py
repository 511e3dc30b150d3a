"""OHIF of the MONAI Label wheel in headless Chromium, used as a person uses it."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

WAIT_MS = 300_000  # a busy computer
# software rendering, and no sandbox: tests may run as root in a container
ARGUMENTS = (
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
)
_VOLUMES = """() => {
  const mask = services.segmentationService.getLabelmapVolume('1');
  const image = cornerstone.cache.getVolumes().find(v => v.volumeId !== '1');
  return {
    mask: Array.from(mask.voxelManager.getCompleteScalarDataArray()),
    image: Array.from(image.voxelManager.getCompleteScalarDataArray()),
    shape: mask.dimensions,
    origin: mask.origin,
    direction: Array.from(mask.direction),
  };
}"""

_PLACE = """world => {
  const view = cornerstone.getRenderingEngines()[0].getViewport('mpr-axial');
  const camera = view.getCamera();
  const along = world.reduce((sum, w, i) => sum + (w - camera.focalPoint[i]) * camera.viewPlaneNormal[i], 0);
  const shift = camera.viewPlaneNormal.map(n => n * along);
  view.setCamera({
    focalPoint: camera.focalPoint.map((f, i) => f + shift[i]),
    position: camera.position.map((p, i) => p + shift[i]),
  });
  view.render();
  const box = view.canvas.getBoundingClientRect();
  const place = view.worldToCanvas(world);
  return [box.x + place[0], box.y + place[1]];
}"""


class Ohif:
    """OHIF's MONAI Label mode on one study; skips where there is no browser.

    Args:
        url: of the MONAI Label server.
        study: StudyInstanceUID.
    """

    def __init__(self, url: str, study: str) -> None:
        playwright = pytest.importorskip(
            "playwright.sync_api", reason="playwright is not installed"
        )
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        if chromium is None:
            pytest.skip("Chromium is not installed")
        self.playwright = playwright.sync_playwright().start()
        self.browser = self.playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        self.page = self.browser.new_page(viewport={"width": 1280, "height": 760})
        self.page.set_default_timeout(WAIT_MS)
        self.tab = "Auto-Segmentation"
        self.url = url
        self.page.goto(f"{url}/ohif/monai-label?StudyInstanceUIDs={study}")
        self.page.wait_for_selector("#monailabelServerURL")

    def connect(self) -> None:
        """Type the server's address and press the round arrow beside it."""
        self.page.fill("#monailabelServerURL", f"{self.url}/")
        self.page.click(".settingsTable button.actionButton")
        self.page.wait_for_selector("text=Options / Configurations")
        self.page.wait_for_function("() => services.segmentationService.getLabelmapVolume('1')")

    def set_option(self, model: str, option: str, value: str) -> None:
        """Options / Configurations, Section infer: fill one option and confirm."""
        self.page.click("text=Options / Configurations")
        self.page.select_option("select[name=selectSection]", "infer")
        self.page.select_option("select[name=selectName]", model)
        self.page.fill(f"#infer{model}{option}", value)
        self.page.click("button:has-text('Confirm')")

    def tick_class(self, name: str) -> None:
        """Class Prompts: tick a class."""
        row = self._open().locator("tr:has(input[type=checkbox])", has_text=name)
        row.locator("input").check()

    def click_point(self, label: str, world: tuple[float, float, float]) -> None:
        """Point Prompts: choose a label and click at a place (LPS, mm) of the axial view."""
        self._open().locator("tr.clickable-row", has_text=label).click()
        x, y = self.page.evaluate(_PLACE, list(world))
        self.page.mouse.click(x, y)
        self.page.wait_for_timeout(500)

    def open_tab(self, name: str) -> None:
        """Open a tab of the panel."""
        self.page.click(f"label.tab-label:has-text('{name}')")
        self.tab = name

    def _open(self) -> Any:
        """The content of the open tab; the one before is still closing, with buttons of the same names."""
        label = self.page.locator(f"label.tab-label:has-text('{self.tab}')")
        return self.page.locator(".tab", has=label).locator(".tab-content")

    def run(self, model: str) -> str:
        """Press Run of the open tab; waits for the mask and gives the request's form as text."""
        self.page.evaluate(
            """() => {
              window.masks = 0;
              cornerstone.eventTarget.addEventListener(
                'CORNERSTONE_TOOLS_SEGMENTATION_DATA_MODIFIED', () => { window.masks += 1; }, {once: true});
            }"""
        )
        with self.page.expect_response(lambda r: f"/infer/{model}?" in r.url) as answer:
            self._open().locator("button:has-text('Run')").first.click()
        assert answer.value.status == 200, answer.value.text()
        self.page.wait_for_function("() => window.masks > 0")
        return answer.value.request.post_data

    def volumes(self) -> tuple[np.ndarray, np.ndarray]:
        """Segment numbers and image as OHIF holds them, both (X, Y, Z) in RAS order."""
        found = self.page.evaluate(_VOLUMES)
        shape = found["shape"]
        turn = np.sign(np.array(found["direction"]).reshape(3, 3).sum(axis=1)) * [-1, -1, 1]
        return tuple(
            np.array(found[key]).reshape(shape[::-1]).T[tuple(slice(None, None, int(t)) for t in turn)]
            for key in ("mask", "image")
        )  # fmt: skip

    def screenshot(self, path: Path) -> None:
        """Save what is on the screen."""
        self.page.wait_for_timeout(1500)  # messages fade and the views are drawn
        self.page.screenshot(path=str(path))

    def close(self) -> None:
        """Close the browser."""
        self.browser.close()
        self.playwright.stop()
