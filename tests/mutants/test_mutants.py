"""Every mutation applies to the current code, and only failing tests count as detection."""

import pytest

from tests.mutants.__main__ import ROOT, Verdict, verdict_on
from tests.mutants.mutations import MUTATIONS, Mutation

ANY_MUTATION = MUTATIONS[0]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_applies_once_and_its_tests_exist(mutation: Mutation) -> None:
    assert (ROOT / mutation.file).read_text().count(mutation.before) == 1
    assert all((ROOT / test).exists() for test in mutation.tests)


def test_tests_that_time_out_do_not_count_as_detection() -> None:
    assert verdict_on(ANY_MUTATION, timeout_s=0.01) is Verdict.TIMED_OUT


def test_a_mutation_that_does_not_apply_does_not_count_as_detected() -> None:
    missing = Mutation("missing", ANY_MUTATION.file, "no such line", "", ANY_MUTATION.tests)

    assert verdict_on(missing) is Verdict.NOT_APPLICABLE
