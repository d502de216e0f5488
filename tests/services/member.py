"""A member of a consumer group that is not ours: member.py BOOTSTRAP GROUP TOPIC STRATEGY.

Writes a line `assigned N` for each assignment of N partitions, and `value V` for each record it has committed. SIGTERM lets it
leave the group; SIGKILL leaves it to the broker to miss it, which takes the session of 6 s.
"""

import signal
import sys

from confluent_kafka import Consumer

ended = False


def end(*_) -> None:
    global ended
    ended = True


def say(line: str) -> None:
    print(line, flush=True)


def main(bootstrap: str, group: str, topic: str, strategy: str) -> None:
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": group, "partition.assignment.strategy": strategy,
        "enable.auto.commit": False, "auto.offset.reset": "earliest", "session.timeout.ms": 6000, "heartbeat.interval.ms": 500,
        "log_level": 2,
    })
    consumer.subscribe([topic], on_assign=lambda _, partitions: say(f"assigned {len(partitions)}"))
    while not ended:
        message = consumer.poll(0.2)
        if message is None or message.error():
            continue
        consumer.commit(message, asynchronous=False)
        say(f"value {message.value().decode()}")
    consumer.close()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end)
    main(*sys.argv[1:])
