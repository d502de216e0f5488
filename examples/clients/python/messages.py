"""Log lines and events as CIM reads them: FlatBuffers after ../schema/*.fbs, with the calls that `flatc --python` makes."""

import time

import flatbuffers


def log(container_id: str, container_name: str, payload: str) -> bytes:
    """A message for subject LOG."""
    builder = flatbuffers.Builder(256)
    texts = [builder.CreateString(text) for text in (container_id, container_name, payload)]
    builder.StartObject(3)
    for slot, text in enumerate(texts):
        builder.PrependUOffsetTRelativeSlot(slot, text, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


def event(name: str, container_id: str = "", managed_object: dict[str, str] | None = None) -> bytes:
    """A message for subject EVENT, of this moment; what has no value is left out."""
    builder = flatbuffers.Builder(256)
    pairs = [pair(builder, key, value) for key, value in (managed_object or {}).items()]
    builder.StartVector(4, len(pairs), 4)
    for offset in reversed(pairs):
        builder.PrependUOffsetTRelative(offset)
    objects = builder.EndVector()
    name_at, id_at = builder.CreateString(name), builder.CreateString(container_id)
    builder.StartObject(11)
    builder.PrependUOffsetTRelativeSlot(0, name_at, 0)
    builder.PrependInt64Slot(1, time.time_ns() // 1_000_000, 0)
    builder.PrependUOffsetTRelativeSlot(2, id_at, 0)
    builder.PrependUOffsetTRelativeSlot(3, objects, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


def pair(builder: flatbuffers.Builder, key: str, value: str) -> int:
    key_at, value_at = builder.CreateString(key), builder.CreateString(value)
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(0, key_at, 0)
    builder.PrependUOffsetTRelativeSlot(1, value_at, 0)
    return builder.EndObject()
