"""When a silent process counts as hung."""

from servemesh.local.domain.liveness import Liveness, Patience

PATIENCE = Patience(silences_max=3)


def asked(*answers: bool) -> Liveness:
    liveness = Liveness()
    for answered in answers:
        liveness = liveness.after(answered=answered)
    return liveness


def test_silence_is_borne_up_to_a_bound():
    assert not asked(False, False).is_hung(PATIENCE)
    assert asked(False, False, False).is_hung(PATIENCE)


def test_an_answer_wipes_the_slate():
    assert not asked(False, False, True, False, False).is_hung(PATIENCE)
