"""Numbers as text: significant digits, a real minus sign, a dash for blanks."""

import math

DASH = "–"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def significant(value: float, digits: int = 3) -> str:
    """A number with ``digits`` significant digits; a dash if it is not finite."""
    if value is None or not math.isfinite(value):
        return DASH
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if exponent < -4 or exponent >= 7:
        mantissa, power = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa} × 10{str(int(power)).translate(_SUPERSCRIPTS)}".replace("-", "−")
    return f"{value:,.{max(0, digits - 1 - exponent)}f}".replace("-", "−")


def percentage(share: float) -> str:
    """A fraction as ``100 %``, ``12 %``, ``0.4 %``: an integer from ten on, else at most two significant digits."""
    percent = 100 * share
    if not math.isfinite(percent):
        return DASH
    text = decimals(percent, 0) if abs(percent) >= 9.95 else significant(percent, 2)
    if "." in text and "×" not in text:
        text = text.rstrip("0").rstrip(".")
    return f"{text} %"


def plain(value: float, _position: float | None = None) -> str:
    """Label of an axis tick: ``0.002``, ``10``, ``1,000``; powers of ten only far from one."""
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        text = f"{value:,.10f}".rstrip("0").rstrip(".")
        return text.replace("-", "−")
    return significant(value, 1)


def decimals(value: float, places: int) -> str:
    """A number with a fixed number of decimals; a dash if it is not finite."""
    if value is None or not math.isfinite(value):
        return DASH
    return f"{value:,.{places}f}".replace("-", "−")


def plus_minus(mean: float, std: float, places: int | None = None) -> str:
    """``mean ± std`` with two significant digits of the spread, at most four decimals.

    With a single fold there is no spread: the mean alone is given.
    """
    if mean is None or not math.isfinite(mean):
        return DASH
    if std is None or not math.isfinite(std):
        return decimals(mean, places) if places is not None else significant(mean)
    if places is None:
        scale = std if std > 0 else abs(mean) / 100
        places = min(4, max(0, 1 - math.floor(math.log10(scale)))) if scale > 0 else 1
    return f"{decimals(mean, places)} ± {decimals(std, places)}"


def duration(seconds: float) -> str:
    """Seconds as ``12.3 s``, ``4.5 min`` or ``6.7 h``."""
    if seconds is None or not math.isfinite(seconds):
        return DASH
    if seconds < 90:
        return f"{significant(seconds)} s"
    if seconds < 5400:
        return f"{significant(seconds / 60)} min"
    return f"{significant(seconds / 3600)} h"


def span(low: float, high: float) -> str:
    """``2 to 8``, or ``2`` if both are the same."""
    return f"{low:,g}" if low == high else f"{low:,g} to {high:,g}"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """``1 material``, ``2 materials``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
