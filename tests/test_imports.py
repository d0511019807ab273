import gc

from pipelines.imports import importing


def test_no_garbage_is_looked_for_while_a_library_loads_for_the_first_time():
    before = gc.get_freeze_count()
    with importing("gc"):  # there already
        assert gc.isenabled()
    assert gc.get_freeze_count() == before
    try:
        with importing("a library that is not loaded"):
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()
