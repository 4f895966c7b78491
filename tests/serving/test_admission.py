from panther_pipeline.serving.admission import Admission


def test_admission_lets_in_so_many_and_no_more():
    house = Admission(2)
    assert [house.enter() for _ in range(3)] == [True, True, False]
    assert house.is_full
    house.leave()
    assert house.enter()
    house.leave()
    house.leave()
    assert house.is_empty
