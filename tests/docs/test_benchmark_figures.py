"""What the README says of the benchmark is what the last complete run measured."""

from bench.summary import BEGIN, END, README, block, kept


def test_the_readme_has_the_figures_of_the_last_run() -> None:
    assert README.read_text().partition(BEGIN)[2].partition(END)[0].strip() == block(kept())
