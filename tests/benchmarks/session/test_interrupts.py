import signal
import weakref

import pytest

from runner_lab.benchmarks.session.interrupts import Interrupts


class Thing:
    pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_ctrl_c_that_python_swallows_is_raised_again():
    with Interrupts() as interrupts:
        interrupts.raise_lost()
        thing = Thing()
        watched = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
        del thing
        assert watched() is None

        with pytest.raises(KeyboardInterrupt):
            interrupts.raise_lost()


def test_any_other_ctrl_c_is_raised_where_it_comes_in_and_the_handler_is_put_back():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), Interrupts():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
