"""Every claim is held by a test, says how it is known, and stands on the page."""

from __future__ import annotations

from tests.contract.claims import CLAIMS, KNOWN, PAGE, SOURCES, WRITE, held, page


def test_every_claim_is_held():
    """A claim without a test is a wish."""
    assert [name for name, tests in held().items() if not tests] == []


def test_every_claim_says_how_it_is_known():
    """With an address, unless it is assumed or the article's, which is named at the top; every address is used."""
    assert {claim["known"] for claim in CLAIMS.values()} <= KNOWN.keys()
    assert [
        name for name, claim in CLAIMS.items() if ("source" in claim) is (claim["known"] in ("assumed", "article"))
    ] == []
    used = {claim["source"] for claim in CLAIMS.values() if "source" in claim}
    assert used == SOURCES.keys()


def test_the_page_lists_them():
    """It is made, not written."""
    assert PAGE.read_text(encoding="utf-8") == page(), f"run {WRITE}"
