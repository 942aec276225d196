"""`make forecast`: what the autoscaler's memory of last week does to requests and replica-hours. No test."""

from tests.support.recurring import Week, Weeks, policy
from tests.support.state import Cluster, virtual_scripts
from tests.support.stores import RedisQueue, running_server

WEEKS = {
    "climbs in 10 minutes": Week(),
    "climbs in 2 minutes": Week(climb_s=120),
    "climbs in 2 minutes, each week 10 minutes later": Week(climb_s=120, late_s=600),
    "climbs in 2 minutes, another hour each day": Week(climb_s=120, is_shuffled=True),
}
SEED = 1


def main() -> None:
    scripts = virtual_scripts()
    print("| surge | `ahead` | shed | late | shed in known surges | late | replica-hours | against 0 |")
    print("|" + 8 * "---|")
    for store in running_server("valkey"):
        for name, week in WEEKS.items():
            base = 0.0
            for ahead_s in (0, 60):
                with RedisQueue(store.url) as queue:
                    queue.load(scripts.values())
                    seen = Weeks(Cluster(queue, scripts), policy(ahead_ms=1000 * ahead_s), week, SEED).run()
                base = base or seen.replica_hours
                figures = (seen.shed, seen.late, seen.known_shed, seen.known_late, f"{seen.replica_hours:.0f}")
                cells = " | ".join(map(str, figures))
                print(f"| {name} | {ahead_s} s | {cells} | {seen.replica_hours / base - 1:+.2%} |", flush=True)


if __name__ == "__main__":
    main()
