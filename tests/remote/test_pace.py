from alignkit.remote.pace import Pace


class Time:
    """A clock that goes on only while somebody sleeps."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def starts(pace, time, count):
    found = []
    for _ in range(count):
        pace.wait()
        found.append(time.now)
    return found


def test_requests_are_spaced_evenly():
    time = Time()
    assert starts(Pace(120, time, time.sleep), time, 3) == [0.0, 0.5, 1.0]
    assert starts(Pace(None, time, time.sleep), time, 2) == [1.0, 1.0]


def test_a_pause_holds_everybody_back_and_the_longest_counts():
    time = Time()
    pace = Pace(60, time, time.sleep)
    pace.pause(5)
    pace.pause(2)
    assert starts(pace, time, 2) == [5.0, 6.0]
