"""Writes records to a topic: produce.py BOOTSTRAP TOPIC, with a line of JSON for each record on standard input.

A line is {"value": hex, "headers": [[name, hex or null], ...], "key": text or null, "age_ms": number,
"partition": number or absent}. Speaks through confluent-kafka, and returns when all in-sync replicas have the records, in their order.
"""

import json
import sys
import time

from confluent_kafka import Producer


def main(bootstrap: str, topic: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "message.max.bytes": 20_000_000, "log_level": 2})
    errors = []
    for line in sys.stdin:
        record = json.loads(line)
        headers = [(name, None if value is None else bytes.fromhex(value)) for name, value in record["headers"]]
        written = int(time.time() * 1000) - record["age_ms"]
        place = {"partition": record["partition"]} if "partition" in record else {}
        arguments = {"value": bytes.fromhex(record["value"]), "headers": headers, "key": record["key"], "timestamp": written, **place}
        while True:
            try:
                producer.produce(topic, on_delivery=lambda error, _: errors.append(error) if error else None, **arguments)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    left = producer.flush(60)
    if errors or left:
        sys.exit(f"{left} records left, {errors[:1]}")


main(sys.argv[1], sys.argv[2])
