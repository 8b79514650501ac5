"""Results as KTAP, read by a reader of TAP that is none of ours: Perl's, which prove is made of."""

from __future__ import annotations

import json
import subprocess

import pytest

from relokit.cli.results.result_cases import CaseEnd, ResultCase, ResultSet
from relokit.cli.results.written import text_of_results
from relokit.runtime.judge.outcome import Finding

pytestmark = pytest.mark.oracle

READER = r"""
use TAP::Parser; use JSON::PP; local $/; my $parser = TAP::Parser->new({tap => <STDIN>});
my @seen;
while (my $one = $parser->next) {
  push @seen, [$one->number + 0, $one->description, $one->is_actual_ok ? 1 : 0,
    $one->has_skip ? 1 : 0, $one->has_todo ? 1 : 0, $one->explanation] if $one->is_test;
}
print encode_json({tests => \@seen, planned => $parser->tests_planned + 0,
  errors => [$parser->parse_errors], failed => [map { $_ + 0 } $parser->failed]});
"""
FOUND = Finding("a.b", "what\nis # wrong\nok 9 - no", place="f+0x4 (x.S:3)")
CASES = (
    ResultCase("g", "passes", CaseEnd.PASSED),
    ResultCase("g", "fails # TODO and says", CaseEnd.FAILED, "why", (FOUND,)),
    ResultCase("g", "known", CaseEnd.KNOWN, "1 known finding accepted (we know)", (FOUND,)),
    ResultCase("g", "skipped", CaseEnd.SKIPPED, "not judged:\nno trace"),
    ResultCase("g", "no answer", CaseEnd.NO_ANSWER, "the time was over"),
    ResultCase("g", "ok 3 - passes\nnot ok 4", CaseEnd.PASSED),
)


def test_a_reader_of_tap_reads_the_same_ends() -> None:
    text = text_of_results(
        ResultSet("relokit run", CASES, ("1..7", "a note")), "ktap", timings=False
    )
    done = subprocess.run(
        ["perl", "-e", READER], input=text, capture_output=True, text=True, check=True
    )
    read = json.loads(done.stdout)
    assert (read["errors"], read["planned"]) == ([], len(CASES))
    assert read["failed"] == [2, 5]
    for number, (told, case) in enumerate(zip(read["tests"], CASES, strict=True), start=1):
        at, _, ok, skip, todo, why = told
        assert at == number
        assert bool(ok) == (case.end in (CaseEnd.PASSED, CaseEnd.SKIPPED))
        assert bool(skip) == (case.end is CaseEnd.SKIPPED)
        assert bool(todo) == (case.end is CaseEnd.KNOWN)
        if skip or todo:
            assert why == " ".join((case.why or "").split())
