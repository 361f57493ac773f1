"""What the check of the proof says of a mutation, and that each of ours can still be made."""

import pytest

from tests.mutants.__main__ import ROOT, Verdict, verdict_on
from tests.mutants.mutations import MUTATIONS, Mutation

NOTICED = MUTATIONS[0]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_still_applies_and_names_tests_that_there_are(mutation: Mutation) -> None:
    assert (ROOT / mutation.file).read_text().count(mutation.before) == 1
    assert all((ROOT / test).exists() for test in mutation.tests)


def test_tests_that_do_not_end_have_noticed_nothing() -> None:
    assert verdict_on(NOTICED, timeout_s=0.01) is Verdict.NOT_ENDED


def test_what_no_longer_applies_has_not_been_noticed() -> None:
    gone = Mutation("gone", NOTICED.file, "no such line", "", NOTICED.tests)

    assert verdict_on(gone) is Verdict.NOT_APPLICABLE
