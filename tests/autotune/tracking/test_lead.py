"""One run of a study leads; the lead passes on when its holder leaves or dies, and the last run has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.tracking.lead import Lead
from tests.autotune.tracking.company import Company

pytestmark = pytest.mark.usefixtures("in_memory")


@pytest.fixture
def company(tmp_path: Path) -> Company:
    return Company(tmp_path)


def entered(company: Company, name: str) -> Lead:
    lead = Lead(company.study(name))
    lead.enter()
    return lead


def test_the_first_run_leads_and_the_others_do_not(company: Company) -> None:
    first, second = entered(company, "a"), entered(company, "b")
    assert (first.held, second.held) == (True, False)
    assert not second.is_free()
    assert first.others() == {"b"} and second.others() == {"a"}


def test_the_lead_is_free_when_its_holder_has_left(company: Company) -> None:
    first, second, third = (entered(company, name) for name in "abc")
    assert not first.leave(-1, writes=True)  # not the last one
    assert second.is_free() and not third.is_free()
    assert second.others() == {"a", "c"}  # it still writes its own trials
    company.alive -= {"a"}
    assert second.others() == {"c"}


def test_the_lead_is_free_when_its_holder_has_died(company: Company) -> None:
    entered(company, "a")
    second, third = entered(company, "b"), entered(company, "c")
    company.alive -= {"a"}
    assert second.is_free() and not third.is_free()


def test_a_run_that_will_write_nothing_leaves_the_list(company: Company) -> None:
    first, second = entered(company, "a"), entered(company, "b")
    assert not second.leave(-1, writes=False)
    assert first.others() == set()


def test_the_last_run_to_leave_leads(company: Company) -> None:
    first, second = entered(company, "a"), entered(company, "b")
    assert not first.leave(-1, writes=True)
    assert second.leave(-1, writes=False) and second.held
    assert first.others() == {"b"}  # it writes all the same, and ends the parent


def test_a_run_that_enters_while_all_others_close_leads(company: Company) -> None:
    entered(company, "a").leave(-1, writes=True)
    assert entered(company, "b").held


@pytest.mark.parametrize("others", [set(), {"b"}])
def test_a_run_that_cannot_wait_for_the_lock_is_the_last_where_no_other_lives(
    company: Company, others: set[str]
) -> None:
    lead = entered(company, "a")
    company.alive |= others
    company.busy = True
    assert lead.leave(0.01, writes=True) == (not others)
    assert company.store.facts.recording == {"a": True}
