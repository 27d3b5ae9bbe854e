"""Numbers of the report as text: significant digits, percentages, durations."""

from rho2prop.report.numbers import duration, percentage, plain, plus_minus, significant


def test_percentages_are_for_people():
    shares = (1.02, 1.0, 0.1234, 0.0995, 0.004, 0.02, 0.0123, 0, -0.5, float("nan"))
    expected = "102 % 100 % 12 % 10 % 0.4 % 2 % 1.2 % 0 % −50 % –".replace(" %", "_%").split()
    assert [percentage(share) for share in shares] == [text.replace("_", " ") for text in expected]
    assert [plain(x) for x in (0.002, 10, 100_000, 1e-5, 0)] == ["0.002", "10", "100,000", "1 × 10⁻⁵", "0"]


def test_numbers_have_sensible_digits():
    assert plus_minus(12.0, 2.828) == "12.0 ± 2.8"
    assert plus_minus(0.12345, 0.00321) == "0.1235 ± 0.0032" or plus_minus(0.12345, 0.00321) == "0.1234 ± 0.0032"
    assert plus_minus(154.4, 31.0) == "154 ± 31"
    assert plus_minus(-5.25, float("nan")) == "−5.25"
    assert plus_minus(float("nan"), 1.0) == "–"
    assert significant(0) == "0"
    assert significant(0.000002346) == "2.35 × 10⁻⁶"
    assert duration(45) == "45.0 s"
    assert duration(7200) == "2.00 h"
