import com.google.flatbuffers.FlatBufferBuilder;
import java.util.Map;

/** Log lines and events as CIM reads them: FlatBuffers after ../schema/*.fbs, with the calls that {@code flatc --java} makes. */
final class Messages {
    private Messages() {
    }

    /** A message for subject LOG. */
    static byte[] log(String containerId, String containerName, String payload) {
        FlatBufferBuilder builder = new FlatBufferBuilder(256);
        int[] texts = {builder.createString(containerId), builder.createString(containerName), builder.createString(payload)};
        builder.startTable(3);
        for (int slot = 0; slot < texts.length; slot++) {
            builder.addOffset(slot, texts[slot], 0);
        }
        builder.finish(builder.endTable());
        return builder.sizedByteArray();
    }

    /** A message for subject EVENT, of this moment; what has no value is left out. */
    static byte[] event(String name, String containerId, Map<String, String> managedObject) {
        FlatBufferBuilder builder = new FlatBufferBuilder(256);
        int[] pairs = managedObject.entrySet().stream()
            .mapToInt(object -> pair(builder, object.getKey(), object.getValue())).toArray();
        int objects = builder.createVectorOfTables(pairs);
        int nameAt = builder.createString(name);
        int idAt = builder.createString(containerId);
        builder.startTable(11);
        builder.addOffset(0, nameAt, 0);
        builder.addLong(1, System.currentTimeMillis(), 0);
        builder.addOffset(2, idAt, 0);
        builder.addOffset(3, objects, 0);
        builder.finish(builder.endTable());
        return builder.sizedByteArray();
    }

    private static int pair(FlatBufferBuilder builder, String key, String value) {
        int keyAt = builder.createString(key);
        int valueAt = builder.createString(value);
        builder.startTable(2);
        builder.addOffset(0, keyAt, 0);
        builder.addOffset(1, valueAt, 0);
        return builder.endTable();
    }
}
