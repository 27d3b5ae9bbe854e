"""Part of a page that shows a density: crystal and isosurface, slices, sliders."""

import asyncio

from nicegui import ui

from rho2prop.app.figures import AXES, crystal_figure, slice_figure
from rho2prop.app.view import DensityView

FIRST_SHARE = 60  # percent of the electrons inside the first isosurface
FIRST_AXIS = 2
THROTTLE_S = 0.2  # between updates while a slider moves


class DensityPanel:
    """Drawings of one density inside the current element."""

    def __init__(self, view: DensityView):
        self._view = view
        through_atom = round(float(view.frac_coords[0, FIRST_AXIS]), 2)
        with ui.row().classes("w-full no-wrap gap-6 max-lg:flex-wrap"):
            with ui.column().classes("w-1/2 max-lg:w-full gap-1"):
                self._crystal = ui.plotly(crystal_figure(view, view.level_enclosing(FIRST_SHARE / 100)))
                self._crystal.classes("w-full").props("data-testid=crystal")
                self._level_text = ui.label().classes("text-sm").props("data-testid=level-text")
                self._level = ui.slider(min=2, max=98, value=FIRST_SHARE).props("label data-testid=level")
                self._level.on("update:model-value", self._draw_surface, throttle=THROTTLE_S, leading_events=False)
            with ui.column().classes("w-1/2 max-lg:w-full gap-1"):
                self._slice = (
                    ui.plotly(slice_figure(view, FIRST_AXIS, through_atom)).classes("w-full").props("data-testid=slice")
                )
                self._slice_text = ui.label().classes("text-sm").props("data-testid=slice-text")
                with ui.row().classes("w-full no-wrap items-center"):
                    self._axis = ui.toggle(dict(enumerate(AXES)), value=FIRST_AXIS, on_change=self._draw_slice)
                    self._axis.props("dense no-caps data-testid=slice-axis")
                    self._position = ui.slider(min=0, max=1, step=0.01, value=through_atom).props(
                        "data-testid=slice-position"
                    )
                    self._position.on("update:model-value", self._draw_slice, throttle=THROTTLE_S, leading_events=False)
        ui.label(_describe(view)).classes("text-sm text-gray-600").props("data-testid=description")
        self._say_level()
        self._say_slice()

    async def _draw_surface(self) -> None:
        level = self._say_level()
        self._crystal.update_figure(await asyncio.to_thread(crystal_figure, self._view, level))

    async def _draw_slice(self) -> None:
        self._say_slice()
        figure = await asyncio.to_thread(slice_figure, self._view, self._axis.value, self._position.value)
        self._slice.update_figure(figure)

    def _say_level(self) -> float:
        share = self._level.value
        level = self._view.level_enclosing(share / 100)
        self._level_text.text = f"Isosurface at {level:.3g} e/Å³, enclosing {share:.0f} % of the electrons"
        return level

    def _say_slice(self) -> None:
        axis = AXES[self._axis.value]
        self._slice_text.text = f"Slice at {self._position.value:.2f} along lattice vector {axis}"


def _describe(view: DensityView) -> str:
    native, drawn = (" × ".join(map(str, shape)) for shape in (view.native_shape, view.values.shape))
    grid = f"grid {native}" if native == drawn else f"grid {native} (drawn with {drawn})"
    return f"{view.n_electrons:g} electrons, {view.kind} density, {grid}, {view.engine}"
