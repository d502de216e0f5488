"""Prints a whole Kafka topic with aiokafka, one JSON object per record: read_topic.py BOOTSTRAP TOPIC PARTITIONS

Key and value in hex; records by partition, then by offset.
"""

import asyncio
import json
import sys

from aiokafka import AIOKafkaConsumer, TopicPartition


async def main(bootstrap: str, topic: str, count: int) -> None:
    partitions = [TopicPartition(topic, number) for number in range(count)]
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        records = []
        while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
            for found in (await consumer.getmany(timeout_ms=1000)).values():
                records += found
    finally:
        await consumer.stop()
    for record in sorted(records, key=lambda record: (record.partition, record.offset)):
        print(json.dumps({
            "partition": record.partition, "offset": record.offset, "time": record.timestamp,
            "key": None if record.key is None else record.key.hex(),
            "value": None if record.value is None else record.value.hex(),
            "headers": [[name, value.decode()] for name, value in record.headers],
        }))


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
