package main

import (
	"time"

	flatbuffers "github.com/google/flatbuffers/go"
)

// Log lines and events as CIM reads them: FlatBuffers after ../schema/*.fbs, with the calls that `flatc --go` makes.

// logMessage is a message for subject LOG.
func logMessage(containerID, containerName, payload string) []byte {
	builder := flatbuffers.NewBuilder(256)
	texts := []flatbuffers.UOffsetT{
		builder.CreateString(containerID), builder.CreateString(containerName), builder.CreateString(payload),
	}
	builder.StartObject(3)
	for slot, text := range texts {
		builder.PrependUOffsetTSlot(slot, text, 0)
	}
	builder.Finish(builder.EndObject())
	return builder.FinishedBytes()
}

type keyValue struct{ key, value string }

// eventMessage is a message for subject EVENT, of this moment; what has no value is left out.
func eventMessage(name, containerID string, managedObject ...keyValue) []byte {
	builder := flatbuffers.NewBuilder(256)
	pairs := make([]flatbuffers.UOffsetT, len(managedObject))
	for i, object := range managedObject {
		key, value := builder.CreateString(object.key), builder.CreateString(object.value)
		builder.StartObject(2)
		builder.PrependUOffsetTSlot(0, key, 0)
		builder.PrependUOffsetTSlot(1, value, 0)
		pairs[i] = builder.EndObject()
	}
	builder.StartVector(4, len(pairs), 4)
	for i := len(pairs) - 1; i >= 0; i-- {
		builder.PrependUOffsetT(pairs[i])
	}
	objects := builder.EndVector(len(pairs))
	nameAt, idAt := builder.CreateString(name), builder.CreateString(containerID)
	builder.StartObject(11)
	builder.PrependUOffsetTSlot(0, nameAt, 0)
	builder.PrependInt64Slot(1, time.Now().UnixMilli(), 0)
	builder.PrependUOffsetTSlot(2, idAt, 0)
	builder.PrependUOffsetTSlot(3, objects, 0)
	builder.Finish(builder.EndObject())
	return builder.FinishedBytes()
}
