import com.google.protobuf.ByteString;
import dev.servemesh.api.oip.v2.ModelInferRequest;
import dev.servemesh.api.oip.v2.ModelInferResponse;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Numbers to raw contents and back. */
final class Tensors {
  private Tensors() {}

  /** Returns a request with raw contents: row-major, little-endian. */
  static ModelInferRequest requestOf(String model, String id, float[] pixels, int rows) {
    ByteBuffer raw = ByteBuffer.allocate(Float.BYTES * pixels.length).order(ByteOrder.LITTLE_ENDIAN);
    raw.asFloatBuffer().put(pixels);
    return ModelInferRequest.newBuilder()
        .setModelName(model)
        .setId(id)
        .addInputs(
            ModelInferRequest.InferInputTensor.newBuilder()
                .setName("image")
                .setDatatype("FP32")
                .addShape(rows)
                .addShape(pixels.length / rows))
        .addRawInputContents(ByteString.copyFrom(raw))
        .build();
  }

  /** Returns the bytes of one output: they lie in the order of the outputs. */
  static ByteBuffer rawOutput(ModelInferResponse answer, String name) {
    for (int position = 0; position < answer.getOutputsCount(); position++) {
      if (answer.getOutputs(position).getName().equals(name)) {
        return answer.getRawOutputContents(position).asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
      }
    }
    throw new IllegalArgumentException("there is no output " + name);
  }

  /** Returns the INT64 output "label". */
  static long[] labelsOf(ModelInferResponse answer) {
    ByteBuffer raw = rawOutput(answer, "label");
    long[] labels = new long[raw.remaining() / Long.BYTES];
    raw.asLongBuffer().get(labels);
    return labels;
  }
}
