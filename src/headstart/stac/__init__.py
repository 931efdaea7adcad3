"""Catalogues of Earth observation data (STAC): search, fetch, and a run that describes itself.

The three verbs of the room. Everything that needs a package of the extra `geo` is imported when a
verb is called, so that importing this costs nothing.

Example:
    >>> from headstart import stac
    >>> items = stac.search("https://example.org/stac", bbox="-62.1,-3.4,-61.9,-3.2",
    ...                     max_cloud=20)                        # doctest: +SKIP
    >>> stac.fetch("https://example.org/stac", criteria=stac.make_criteria(ids=["S2A_1"]),
    ...            wanted=stac.Wanted(bands=("B04", "B08")), output="scenes")   # doctest: +SKIP
"""
