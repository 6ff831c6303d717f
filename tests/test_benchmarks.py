"""What is shown of measurements: medians with their spread, verdicts, tables, plots, and the page."""

from __future__ import annotations

import itertools
import math
import socket
from xml.etree import ElementTree

import pytest

from tests.benchmarks import asking, figures, machine, page, paired, plots, tables
from tests.benchmarks import failover as failover_part
from tests.benchmarks.figures import Figure, Verdict


def figure(*values, **said):
    """Make one figure."""
    return Figure(**{"part": "driver", "what": "SELECT 1", "who": figures.RATIO, "unit": "x"} | said, values=values)


def failover(mode, who, *values, **said):
    """Make one cell of the failovers, with two clients."""
    what = f"{mode}, promoted after 3 s"
    return figure(*values, part="failover", what=what, who=who, unit="s", per_repeat=2, **said)


SOME = (
    figure(81.25, 80, 90, who=figures.RAW, unit="us"),
    figure(0.9, 0.8, 1.0, at_most=1.02, control=1.001),
    failover("crash", figures.OURS, 0.05, 0.07, 0.06, 0.4, at_most=0.15),
    failover("crash", figures.AWS, 27.0, math.inf, 27.5, 27.25),
)


# --- figures --------------------------------------------------------------------------------------------------------


def test_a_figure_is_its_median_with_the_middle_half():
    """One bad turn of many must not move it."""
    measured = figure(1.0, 2.0, 3.0, 4.0, 100.0)

    assert (measured.median, measured.spread, measured.worst, measured.repeats) == (3.0, (2.0, 4.0), 100.0, 5)


def test_what_never_came_is_the_worst():
    """A client that never wrote again has no number, and must not vanish from the median either."""
    measured = failover("crash", figures.AWS, 1.0, math.inf, math.inf, math.inf)

    assert (measured.median, measured.repeats) == (math.inf, 2)
    assert tables.cell(measured) == "never [never, never], never"


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ({}, Verdict.UNBOUND),
        ({"at_most": 1.0}, Verdict.MET),
        ({"at_most": 0.99}, Verdict.MISSED),
        ({"at_least": 1.01}, Verdict.MISSED),
        ({"at_most": 1.0, "at_least": 1.0}, Verdict.MET),
        ({"at_most": 1.0, "control": 1.011}, Verdict.VOID),
        ({"at_most": 0.5, "control": 0.989}, Verdict.VOID),
        ({"at_most": 1.0, "control": 1.011, "allowance": 0.03}, Verdict.MET),
        ({"control": 2.0}, Verdict.UNBOUND),
    ],
)
def test_a_verdict_is_of_the_median(said, verdict):
    """Where aiomysql differed from itself, nothing can be said, neither good nor bad."""
    assert figure(0.5, 1.0, 7.0, **said).verdict is verdict


@pytest.mark.parametrize(
    ("bounds", "status"), [([2.0, None], 0), ([2.0, 0.5], 1), ([None], 0), ([0.5, "void"], 1), ([2.0, "void"], 2)]
)
def test_the_exit_status_says_whether_a_bound_was_missed(bounds, status):
    """A bound that was missed is worse than one that could not be judged."""
    measured = [
        figure(1.0, at_most=2.0, control=1.5) if bound == "void" else figure(1.0, at_most=bound) for bound in bounds
    ]

    assert figures.status_of(measured) == status


def test_figures_survive_json(tmp_path):
    """Also what never came."""
    tables.write(tmp_path / "some.json", SOME)

    assert tables.read(tmp_path / "some.json") == list(SOME)


# --- tables ---------------------------------------------------------------------------------------------------------


def test_a_table_has_a_line_for_each_thing_and_a_column_for_each_that_was_measured():
    """What nobody measured has no column."""
    rows = tables.table(SOME, tables.COLUMNS)

    assert rows == [
        ["", "aiomysql", "aioaurora", "AWS wrapper", "aioaurora / aiomysql", "bound", "repeats"],
        ["SELECT 1 (us)", "81.2 [80, 90]", "", "", "x0.900 [0.800, 1.000]", "at most x1.02: met", "3"],
        [
            "crash, promoted after 3 s (s)", "", "0.07 [0.06, 0.07], 0.40", "27.38 [27.25, 27.50], never", "",
            "at most 0.15: met", "2 x 2",
        ],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.0684, "s", "0.07"),
        (1.0249, "x", "1.025"),
        (123.4, "us", "123"),
        (12345.6, "1/s", "12,346"),
        (21, "", "21"),
        (0.9876, "", "0.988"),
        (math.inf, "ms", "never"),
    ],
)
def test_a_number_has_the_digits_that_its_unit_bears(value, unit, shown):
    """A ratio is held against bounds of two decimals, so it shows three."""
    assert tables.number(value, unit) == shown


def test_a_bound_is_shown_with_what_became_of_it():
    """Missed is not to be overlooked."""
    assert tables.bound(figure(1.5, at_most=1.02)) == "at most x1.02: MISSED"
    assert tables.bound(figure(1.5)) == ""


def test_text_is_aligned_and_markdown_ruled():
    """The same cells, for a terminal and for a page."""
    rows = [["", "ours"], ["a | b", "1"]]

    assert tables.as_text(rows) == "       ours\na | b     1"
    assert tables.as_markdown(rows) == "| | ours |\n| --- | ---: |\n| a \\| b | 1 |"


# --- plots ----------------------------------------------------------------------------------------------------------


def test_the_plot_of_waits_has_a_dot_for_each_cell():
    """Also for a client that never wrote again: at the edge."""
    drawn = ElementTree.fromstring(plots.waits(SOME))

    dots = [float(dot.get("cx")) for dot in drawn.iterfind(".//{*}g[{*}title]/{*}circle")]
    lines = [float(line.get("x2")) for line in drawn.iterfind(".//{*}g[{*}title]/{*}line")]
    assert len(dots) == 2
    assert plots.LEFT < dots[0] < dots[1] < plots.RIGHT
    assert lines[1] == plots.RIGHT


def test_the_plot_of_costs_has_a_bar_for_each_ratio():
    """What was not measured has none."""
    labels = [("driver", "SELECT 1", "<one>"), ("driver", "SELECT 2", "two")]

    drawn = ElementTree.fromstring(plots.costs(SOME, labels))

    bars = drawn.findall("{*}rect[@height='14']")
    assert [float(bar.get("width")) for bar in bars] == [
        pytest.approx(0.9 / plots.MOST_X * (plots.RIGHT - plots.LEFT), abs=0.1)
    ]
    assert "<one>" in {text.text for text in drawn.iterfind("{*}text")}


def test_a_logarithmic_axis_gives_each_factor_the_same_room():
    """What is beyond its ends is at them."""
    axis = plots.Axis(0.1, 10.0, is_log=True)

    assert axis.at(1.0) == (plots.LEFT + plots.RIGHT) / 2
    assert (axis.at(0.01), axis.at(math.inf)) == (plots.LEFT, plots.RIGHT)


# --- the page -------------------------------------------------------------------------------------------------------


def run_of(*measured):
    """Make a run."""
    versions = {"CPython": "3.11.7", "AWS Advanced Python Wrapper": "3.1.0"}
    return page.Run(
        date="2026-12-01", machine="2 cores", load=0.1, minutes=26.0, versions=versions, figures=list(measured)
    )


def test_a_run_survives_json(tmp_path):
    """The page can be made again without measuring."""
    run_of(*SOME).write(tmp_path / "run.json")

    assert page.Run.read(tmp_path / "run.json") == run_of(*SOME)


def test_a_page_is_filled_between_its_marks_and_nowhere_else():
    """What is written by hand stays, and filling twice changes nothing."""
    text = "before\n<!-- figures: run -->\nold\n<!-- /figures -->\nafter\n"

    filled = page.filled(text, run_of(*SOME))

    assert filled.startswith("before\n<!-- figures: run -->\n- Measured on 2026-12-01")
    assert filled.endswith("\n<!-- /figures -->\nafter\n")
    assert "old" not in filled
    assert page.filled(filled, run_of(*SOME)) == filled


@pytest.mark.parametrize("name", page.BLOCKS)
def test_every_block_can_be_made_of_whatever_was_measured(name):
    """A part that failed leaves a gap, not a traceback."""
    assert page.BLOCKS[name](run_of(*SOME))
    assert page.BLOCKS[name](run_of(SOME[0]))


def test_every_block_stands_somewhere():
    """And each of the names there can be made."""
    texts = [(page.REFERENCE / "performance.md").read_text(), (page.ROOT / "README.md").read_text()]

    assert sorted(name for text in texts for _, name, _ in page.BLOCK.findall(text)) == sorted(page.BLOCKS)


def test_the_page_is_what_was_measured():
    """Figures are not changed by hand, and never without their plots."""
    for path, text in page.made(page.Run.read()).items():
        assert path.read_text() == text, f"{path.name}: run `nox -s bench -- page`"


# --- how it is measured ---------------------------------------------------------------------------------------------


async def test_sides_are_compared_within_each_round():
    """A machine that gets slower meets all of them: aiomysql is measured twice, and is equal to itself."""
    costs = {"ours": itertools.count(3, 3), "raw": itertools.count(2, 2), "wire": itertools.count(1)}

    def side(name):
        async def cost():
            return float(next(costs[name]))

        return cost

    sides = paired.Sides(ours=side("ours"), raw=side("raw"), wire=side("wire"))
    pairs = await paired.compared(sides, rounds=2)
    made = paired.figures_of(pairs, "driver", "SELECT 1", unit="us", at_most=1.02, allowance=0.5)

    assert (pairs.ours, pairs.raw, pairs.wire) == ([6.0, 9.0], [5.0, 9.0], [2.0, 3.0])
    assert pairs.control == [4 / 6, 8 / 10]
    told = {each.who: each.values for each in made}
    assert told[figures.RATIO] == (1.2, 1.0)
    assert told[figures.OURS_TO_WIRE] == (3.0, 3.0)
    assert [each.who for each in made if each.verdict is not Verdict.UNBOUND] == [figures.RATIO]


@pytest.mark.parametrize(
    ("mode", "after_s", "bound_s"),
    [("crash", 0.3, 0.15), ("blackhole", 0.3, 1.1), ("blackhole", 3.0, 0.15), ("graceful", 8.0, 0.15)],
)
def test_a_silence_has_to_show_before_the_bound_counts(mode, after_s, bound_s):
    """Of a black hole whose successor is there at once, nobody can know before a heartbeat is late."""
    assert failover_part.Cell(mode, after_s).bound_s == bound_s


def test_rounds_of_all_and_of_ours_alone_take_turns():
    """What the machine does meanwhile meets both."""
    kinds = (figures.OURS, figures.RAW)

    assert failover_part.rounds_of(1, 2, kinds) == [kinds, [figures.OURS], [figures.OURS]]
    assert failover_part.rounds_of(2, 1, [figures.RAW]) == [[figures.RAW], [figures.RAW]]


def test_the_machine_is_described_without_its_name():
    """The page is public."""
    told = f"{machine.described()} {machine.versions()}"

    assert "CPython" in told
    assert socket.gethostname() not in told
    assert "/bin" not in told


# --- names, elsewhere -----------------------------------------------------------------------------------------------


async def test_another_process_can_ask_for_the_simulators_names():
    """What a client in another process is told, chain and TTL, is what the name server knows."""
    from aioaurora.simulator import SimulatedCluster
    from aioaurora.simulator.questions import Question

    async with SimulatedCluster(2, engine="memory") as sim:
        for name in (sim.endpoint, sim.instance_endpoint("db-2"), "nobody.us-east-1.aurora.test"):
            known = sim.dns.answer(name)
            told = Question.parse(asking.question(name)).reply(known, negative_ttl=1)

            assert asking.answer(told) == known
