"""Each case was worked out by hand from the controller's rules; the arithmetic stands beside it."""

from deploy.simulate.hpa import Controller, Policy, Reading, Rules, Spec, replicas_for

UP = Rules(0, (Policy("Percent", 100, 30), Policy("Pods", 1, 30)))
DOWN = Rules(60, (Policy("Pods", 1, 60),))


def controller(least: int = 1, most: int = 10, up: Rules = UP, down: Rules = DOWN) -> Controller:
    return Controller(Spec(least, most, up, down))


def all_at(milli: int, pods: int) -> list[Reading]:
    return [Reading([milli] * pods, 200)]


def test_pods_are_wanted_in_proportion_to_the_mean_over_its_target() -> None:
    assert replicas_for(Reading([300, 500], 200), 2) == 4  # mean 400, ratio 2, 2 pods


def test_a_fraction_of_a_pod_is_a_whole_one() -> None:
    assert replicas_for(Reading([250, 250, 250], 200), 3) == 4  # 1.25 x 3 = 3.75


def test_a_ratio_within_a_tenth_changes_nothing() -> None:
    assert replicas_for(Reading([220, 220], 200), 2) == 2  # 1.1: still within
    assert replicas_for(Reading([221, 221], 200), 2) == 3  # 1.105 x 2 = 2.21
    assert replicas_for(Reading([180] * 10, 200), 10) == 10  # 0.9: still within
    assert replicas_for(Reading([179] * 10, 200), 10) == 9  # 0.895 x 10 = 8.95


def test_the_mean_is_rounded_down_to_thousandths() -> None:
    assert replicas_for(Reading([220, 221], 200), 2) == 2  # 220.5 -> 220: within


def test_a_pod_without_a_value_counts_as_idle_when_more_are_wanted() -> None:
    assert replicas_for(Reading([600, 600], 200, missing=1), 3) == 6  # mean of 600, 600, 0 is 400: 2 x 3
    assert replicas_for(Reading([290, 290], 200, missing=1), 3) == 3  # 193: the direction turns, nothing changes


def test_a_pod_without_a_value_counts_as_right_at_its_target_when_fewer_are_wanted() -> None:
    assert replicas_for(Reading([50, 50], 200, missing=1), 3) == 2  # mean of 50, 50, 200 is 100: 0.5 x 3
    assert replicas_for(Reading([150, 150], 200, missing=4), 6) == 6  # 1100 / 6 = 183, 0.915: within


def test_pending_pods_count_as_idle_when_more_are_wanted_and_not_at_all_when_fewer_are() -> None:
    assert replicas_for(Reading([600], 200, unready=2), 3) == 3  # 200: exactly at the target
    assert replicas_for(Reading([900], 200, unready=2), 3) == 5  # mean of 900, 0, 0 is 300: 1.5 x 3
    assert replicas_for(Reading([50], 200, unready=2), 3) == 1  # 0.25 x 1


def test_more_pods_are_limited_to_twofold_or_one_more_in_half_a_minute() -> None:
    one = controller(most=20)
    assert one.decide(0, 1, all_at(2000, 1)) == 2  # 10 wanted; 1 + 1 and 1 x 2 allow 2
    assert one.decide(15, 2, all_at(2000, 2)) == 2  # 20 wanted; the period began with 1
    assert one.decide(31, 2, all_at(2000, 2)) == 4
    assert one.decide(62, 4, all_at(2000, 4)) == 8


def test_the_most_pods_there_may_be_is_a_limit_too() -> None:
    assert controller(most=3).decide(0, 2, all_at(2000, 2)) == 3


def test_fewer_pods_wait_until_none_more_were_wanted_for_the_window() -> None:
    one = controller()
    assert one.decide(0, 4, all_at(200, 4)) == 4  # right at the target
    assert one.decide(15, 4, all_at(0, 4)) == 4  # 0 wanted, but 4 a moment ago
    assert one.decide(59, 4, all_at(0, 4)) == 4
    assert one.decide(61, 4, all_at(0, 4)) == 3  # the 4 is older than a minute; one pod a minute
    assert one.decide(90, 3, all_at(0, 3)) == 3
    assert one.decide(122, 3, all_at(0, 3)) == 2


def test_pods_added_within_a_policys_period_all_go_at_once_under_a_shorter_window() -> None:
    """Why the chart refuses a window shorter than its policy's minute: the limit counts from the period's beginning."""
    hasty, chart = controller(down=Rules(15, DOWN.policies)), controller()
    for one in (hasty, chart):
        assert one.decide(0, 1, all_at(400, 1)) == 2
        assert one.decide(31, 2, all_at(300, 2)) == 3
    assert hasty.decide(50, 3, all_at(0, 3)) == 1  # 3, less 2 added in this minute, less 1; and 1 is the least
    assert [chart.decide(now, 3, all_at(0, 3)) for now in (50, 90)] == [3, 3]  # 3 were wanted at 31
    assert chart.decide(91, 3, all_at(0, 3)) == 2


def test_never_fewer_than_the_least() -> None:
    one = controller(least=2)
    one.decide(0, 2, all_at(0, 2))
    assert one.decide(120, 2, all_at(0, 2)) == 2


def test_more_pods_can_wait_for_a_window_as_well() -> None:
    one = controller(up=Rules(30, (Policy("Percent", 100, 30),)))
    assert one.decide(0, 2, all_at(200, 2)) == 2
    assert one.decide(15, 2, all_at(800, 2)) == 2  # the least of the last 30 seconds was 2
    assert one.decide(31, 2, all_at(800, 2)) == 4


def test_the_smallest_change_can_be_chosen() -> None:
    gentle = Rules(0, (Policy("Percent", 100, 30), Policy("Pods", 1, 30)), "Min")
    assert controller(up=gentle).decide(0, 4, all_at(2000, 4)) == 5
    careful = Rules(0, (Policy("Percent", 50, 60), Policy("Pods", 1, 60)), "Min")
    one = controller(down=careful)
    one.decide(0, 8, all_at(200, 8))
    assert one.decide(61, 8, all_at(0, 8)) == 7


def test_per_cents_of_pods_are_rounded_in_favour_of_more_pods_up_and_of_fewer_down() -> None:
    tenth = Rules(0, (Policy("Percent", 10, 60),))
    assert controller(up=tenth).decide(0, 3, all_at(2000, 3)) == 4  # 3.3
    one = controller(down=tenth)
    one.decide(0, 5, all_at(200, 5))
    assert one.decide(1, 5, all_at(0, 5)) == 4  # 4.5


def test_of_two_metrics_the_one_that_wants_more_counts() -> None:
    assert controller().decide(0, 2, [Reading([100, 100], 200), Reading([3000, 3000], 2000)]) == 3


def test_a_metric_that_cannot_be_read_forbids_fewer_pods_and_allows_more() -> None:
    nothing = Reading([], 2000)
    one = controller()
    one.decide(0, 2, all_at(200, 2))
    assert one.decide(120, 2, [Reading([0, 0], 200), nothing]) == 2
    assert one.decide(135, 2, [Reading([400, 400], 200), nothing]) == 4
    assert one.decide(150, 4, [nothing]) == 4


def test_a_count_outside_the_limits_is_brought_back_whatever_the_metrics_say() -> None:
    assert controller(most=5).decide(0, 9, all_at(2000, 9)) == 5
    assert controller(least=3).decide(0, 1, all_at(0, 1)) == 3
