"""What `predict` writes beside masks, and how: the options alone, quick to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headstart.config import Units
from headstart.errors import ConfigError

# Of polygons. Fewer pixels than 4 x 4 are rarely more than noise of the answer, and a pixel's worth
# of moving straightens the stairs that pixels make of a diagonal (0.71 would do, see PolygonSpec).
MIN_PIXELS, SIMPLIFY = 16, 1.0


@dataclass(frozen=True)
class MapOptions:
    """What is written beside masks, and how.

    Attributes:
        probabilities: Write NAME-probabilities.tif, too: a band a class, 8 bits, with their scale.
        polygons: Write the areas as polygons, too: NAME.gpkg or NAME.geojson; of a photo they are
            in pixels.
        min_area: Leave out smaller areas, and fill smaller holes, of polygons: in square metres
            where a picture knows where it lies, else in pixels. 16 pixels without it.
        simplify: By how many pixels the outlines of polygons may be moved to have fewer corners; 1
            without it, and 0 keeps every corner.
        turns: Answer by the mean over the picture and its mirror images (flips: 4 times the time),
            and these turned by right angles, too (all: 8 times).
        units: What the values of rasters mean, where the files do not say it; as for `fit`.
    """

    probabilities: bool = False
    polygons: Literal["gpkg", "geojson"] | None = None
    min_area: float | None = None
    simplify: float | None = None
    turns: Literal["none", "flips", "all"] = "none"
    units: Units | None = None

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            ConfigError: A number that is negative, or that is of polygons which are not wanted.
        """
        of_polygons = {"--min-area": self.min_area, "--simplify": self.simplify}
        for name, value in of_polygons.items():
            if value is not None and self.polygons is None:
                raise ConfigError(
                    f"{name} is of polygons, and none are asked for. Add --polygons gpkg (or "
                    "geojson), or leave it away."
                )
            if value is not None and not 0 <= value < float("inf"):
                raise ConfigError(f"{name} {value:g} cannot be. Give 0 or more.")
