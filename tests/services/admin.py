"""Changes a Kafka cluster for a test: admin.py BOOTSTRAP REQUEST, where REQUEST is JSON with a member "do".

Speaks through confluent-kafka, and returns when the cluster answers accordingly: a topic that was made has leaders, one that
was deleted is gone, one that was altered has its values. An error of the cluster ends it with code 1 and a sentence.
"""

import json
import sys
import time

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import (
    AclBinding, AclBindingFilter, AclOperation, AclPermissionType, AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource,
    NewPartitions, NewTopic, ResourcePatternType, ResourceType, ScramCredentialInfo, ScramMechanism,
    UserScramCredentialUpsertion,
)

PATIENCE = 30


def main(bootstrap: str, request: dict) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
    topic = request.get("topic")
    match request["do"]:
        case "create":
            new = NewTopic(topic, request["partitions"], request["replicas"], config=request["config"])
            finish(admin.create_topics([new], operation_timeout=PATIENCE))
            until(lambda: led(admin, topic) == request["partitions"])
        case "delete":
            finish(admin.delete_topics([topic], operation_timeout=PATIENCE))
            until(lambda: topic not in admin.list_topics(timeout=PATIENCE).topics)
        case "grow":
            finish(admin.create_partitions([NewPartitions(topic, request["partitions"])], operation_timeout=PATIENCE))
            until(lambda: led(admin, topic) == request["partitions"])
        case "alter":
            entries = [
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                for name, value in request["config"].items()
            ]
            resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
            finish(admin.incremental_alter_configs([resource], request_timeout=PATIENCE))
            until(lambda: request["config"].items() <= configured(admin, topic).items())
        case "truncate":
            oldest = TopicPartition(topic, 0, request["before"])
            finish(admin.delete_records([oldest], request_timeout=PATIENCE))
        case "describe":
            partitions = admin.list_topics(timeout=PATIENCE).topics[topic].partitions.values()
            print(json.dumps([
                {"partition": p.id, "leader": p.leader if p.leader > 0 else None, "in_sync": len(p.isrs)}
                for p in sorted(partitions, key=lambda p: p.id)
            ]))
        case "group":
            group = request["group"]
            found = admin.describe_consumer_groups([group], request_timeout=PATIENCE)[group].result(PATIENCE)
            numbers = sorted(admin.list_topics(timeout=PATIENCE).topics[topic].partitions)
            asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, number) for number in numbers])
            known = admin.list_consumer_group_offsets([asked], request_timeout=PATIENCE)[group].result(PATIENCE)
            offsets = {place.partition: place.offset for place in known.topic_partitions}
            print(json.dumps({
                "state": found.state.name, "strategy": found.partition_assignor,
                "members": [member.group_instance_id or "" for member in found.members],
                "committed": [offsets[number] if offsets.get(number, -1) >= 0 else None for number in numbers],
            }))
        case "allow":
            finish(admin.create_acls([right(request)], request_timeout=PATIENCE))
        case "forbid":
            finish(admin.delete_acls([filter_of(right(request))], request_timeout=PATIENCE))
        case "scram":
            for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
                information = ScramCredentialInfo(mechanism, 4096)
                change = UserScramCredentialUpsertion(request["user"], information, request["password"].encode())
                finish(admin.alter_user_scram_credentials([change], request_timeout=PATIENCE))
        case other:
            raise ValueError(f"no such request: {other}")


def finish(futures: dict) -> None:
    for future in futures.values():
        future.result(PATIENCE)


def led(admin: AdminClient, topic: str) -> int:
    found = admin.list_topics(timeout=PATIENCE).topics.get(topic)
    return sum(p.leader > 0 for p in found.partitions.values()) if found else 0


def configured(admin: AdminClient, topic: str) -> dict:
    asked = ConfigResource(ResourceType.TOPIC, topic)
    found = admin.describe_configs([asked], request_timeout=PATIENCE)[asked].result(PATIENCE)
    return {name: entry.value for name, entry in found.items()}


def right(request: dict) -> AclBinding:
    return AclBinding(
        ResourceType.TOPIC, request["topic"], ResourcePatternType.LITERAL, f"User:{request['user']}", "*",
        AclOperation[request["operation"].upper()], AclPermissionType.ALLOW,
    )


def filter_of(binding: AclBinding):
    return AclBindingFilter(
        binding.restype, binding.name, binding.resource_pattern_type, binding.principal, binding.host,
        binding.operation, binding.permission_type,
    )


def until(condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the cluster does not follow within {PATIENCE} s")
        time.sleep(0.05)


if __name__ == "__main__":
    try:
        main(sys.argv[1], json.loads(sys.argv[2]))
    except Exception as error:  # every failure is one sentence for the test
        sys.exit(f"{type(error).__name__}: {error}")
