"""What the documents say uploads cost is what was measured."""

from bench.upload_report import BEGIN, END, OPERATING, README, details, kept, summary


def test_the_documents_have_the_figures_of_the_last_run() -> None:
    report = kept()
    for path, block in ((README, summary(report)), (OPERATING, details(report))):
        assert path.read_text().partition(BEGIN)[2].partition(END)[0].strip() == block
