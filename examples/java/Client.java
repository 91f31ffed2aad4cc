import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import dev.servemesh.api.oip.v2.GRPCInferenceServiceGrpc;
import dev.servemesh.api.oip.v2.GRPCInferenceServiceGrpc.GRPCInferenceServiceBlockingStub;
import dev.servemesh.api.oip.v2.GRPCInferenceServiceGrpc.GRPCInferenceServiceStub;
import dev.servemesh.api.oip.v2.ModelInferRequest;
import dev.servemesh.api.oip.v2.ModelInferResponse;
import dev.servemesh.api.oip.v2.ModelMetadataRequest;
import dev.servemesh.api.oip.v2.ModelMetadataResponse.TensorMetadata;
import dev.servemesh.api.oip.v2.ModelReadyRequest;
import dev.servemesh.api.oip.v2.ModelStreamInferResponse;
import dev.servemesh.api.oip.v2.RepositoryIndexRequest;
import dev.servemesh.api.oip.v2.ServerLiveRequest;
import dev.servemesh.api.oip.v2.ServerReadyRequest;
import dev.servemesh.api.registry.v1.CreateDeploymentRequest;
import dev.servemesh.api.registry.v1.DeleteDeploymentRequest;
import dev.servemesh.api.registry.v1.Deployment;
import dev.servemesh.api.registry.v1.ListModelsRequest;
import dev.servemesh.api.registry.v1.ListModelsResponse;
import dev.servemesh.api.registry.v1.RegistryServiceGrpc;
import dev.servemesh.api.registry.v1.RegistryServiceGrpc.RegistryServiceBlockingStub;
import dev.servemesh.api.registry.v1.WatchDeploymentRequest;
import dev.servemesh.api.registry.v1.WatchDeploymentResponse;
import io.grpc.Context;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.AbstractStub;
import io.grpc.stub.StreamObserver;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

/**
 * Every call that a service makes to the mesh, with stubs generated from protos/.
 *
 * <p>Client ADDRESS DIGITS: DIGITS is a file with a digit in each line, its label and then 64 shades of grey.
 */
public final class Client {
  private static final String MODEL = "digits";
  private static final int PIXELS = 64;
  private static final long CALL_MS = 10_000;
  private static final long READY_MS = 60_000;
  private static final long SHORT_MS = 500;
  private static final int MESSAGE_BYTES_MAX = 64 << 20; // what the mesh takes; gRPC alone would receive 4 MiB

  private final GRPCInferenceServiceBlockingStub inference;
  private final GRPCInferenceServiceStub streaming;
  private final RegistryServiceBlockingStub models;
  private final HealthGrpc.HealthBlockingStub health;

  private Client(ManagedChannel channel) {
    inference = GRPCInferenceServiceGrpc.newBlockingStub(channel);
    streaming = GRPCInferenceServiceGrpc.newStub(channel);
    models = RegistryServiceGrpc.newBlockingStub(channel);
    health = HealthGrpc.newBlockingStub(channel);
  }

  public static void main(String[] arguments) throws Exception {
    List<Digit> digits = Digit.read(Path.of(arguments[1]));
    ManagedChannel channel =
        ManagedChannelBuilder.forTarget(arguments[0])
            .usePlaintext()
            .maxInboundMessageSize(MESSAGE_BYTES_MAX)
            .build();
    try {
      new Client(channel).run(digits);
    } finally {
      channel.shutdownNow().awaitTermination(CALL_MS, TimeUnit.MILLISECONDS);
    }
  }

  private void run(List<Digit> digits) throws Exception {
    printHealth();
    printModels();
    boolean created = deploy();
    watchUntilReady();
    infer(digits);
    printServed();
    stream(digits);
    meetErrors();
    meetDeadline();
    if (created) {
      String name = "deployments/" + MODEL;
      timed(models).deleteDeployment(DeleteDeploymentRequest.newBuilder().setName(name).build());
      System.out.printf("deployment: %s deleted%n", name);
    }
  }

  /** A deadline is a moment: a stub with one is made for each call. */
  private static <S extends AbstractStub<S>> S timed(S stub) {
    return stub.withDeadlineAfter(CALL_MS, TimeUnit.MILLISECONDS);
  }

  /** Asks in both ways whether the mesh takes calls: Kubernetes and load balancers use the second. */
  private void printHealth() {
    boolean live = timed(inference).serverLive(ServerLiveRequest.getDefaultInstance()).getLive();
    boolean ready = timed(inference).serverReady(ServerReadyRequest.getDefaultInstance()).getReady();
    System.out.printf("live: %b%nready: %b%n", live, ready);
    System.out.printf("health: %s%n", timed(health).check(HealthCheckRequest.getDefaultInstance()).getStatus());
  }

  /** Lists what the registry has, page by page. */
  private void printModels() {
    String token = "";
    do {
      ListModelsRequest request = ListModelsRequest.newBuilder().setPageToken(token).build();
      ListModelsResponse page = timed(models).listModels(request);
      page.getModelsList()
          .forEach(
              model ->
                  System.out.printf(
                      "model: %s, newest version %d%n", model.getName(), model.getLatestVersionId()));
      token = page.getNextPageToken();
    } while (!token.isEmpty());
  }

  /** Asks that the model be served; false if it is already. */
  private boolean deploy() {
    Deployment wish = Deployment.newBuilder().setModel("models/" + MODEL).setReplicas(1).build();
    try {
      timed(models).createDeployment(CreateDeploymentRequest.newBuilder().setDeployment(wish).build());
      return true;
    } catch (StatusRuntimeException error) {
      if (error.getStatus().getCode() != Status.Code.ALREADY_EXISTS) {
        throw error;
      }
      return false;
    }
  }

  private Iterator<WatchDeploymentResponse> watch(long timeoutMs) {
    return models
        .withDeadlineAfter(timeoutMs, TimeUnit.MILLISECONDS)
        .watchDeployment(WatchDeploymentRequest.newBuilder().setName("deployments/" + MODEL).build());
  }

  /** Follows the Deployment until as many workers hold it as were asked for. */
  private void watchUntilReady() {
    // A watch that is left is cancelled with the context that it was begun in.
    try (Context.CancellableContext context = Context.current().withCancellation()) {
      context.run(
          () -> {
            Deployment found;
            Iterator<WatchDeploymentResponse> answers = watch(READY_MS);
            do {
              found = answers.next().getDeployment();
              if (found.getState() == Deployment.State.STATE_FAILED) {
                throw new IllegalStateException(
                    found.getName() + " cannot be served: " + found.getReason() + " " + found.getMessage());
              }
            } while (found.getState() != Deployment.State.STATE_READY);
            System.out.printf(
                "deployment: %s READY, %d of %d replicas%n",
                found.getName(), found.getReadyReplicas(), found.getReplicas());
          });
    }
  }

  /** Classifies all digits in one call. */
  private void infer(List<Digit> digits) {
    float[] pixels = new float[digits.size() * PIXELS];
    for (int row = 0; row < digits.size(); row++) {
      System.arraycopy(digits.get(row).image(), 0, pixels, row * PIXELS, PIXELS);
    }
    ModelInferResponse answer = timed(inference).modelInfer(Tensors.requestOf(MODEL, "", pixels, digits.size()));
    long[] labels = Tensors.labelsOf(answer);
    int right = 0;
    for (int row = 0; row < labels.length; row++) {
      right += labels[row] == digits.get(row).label() ? 1 : 0;
    }
    String said = Arrays.stream(labels).mapToObj(Long::toString).collect(Collectors.joining(" "));
    System.out.printf(
        "infer: version %s, labels %s, %d of %d right%n", answer.getModelVersion(), said, right, digits.size());
    float probability = Tensors.rawOutput(answer, "probabilities").getFloat(Float.BYTES * (int) labels[0]);
    System.out.printf("probability of the first: %.4f%n", probability);
  }

  /** Tells what OIP says of the model that is served. */
  private void printServed() {
    var ready = timed(inference).modelReady(ModelReadyRequest.newBuilder().setName(MODEL).build());
    System.out.printf("model ready: %b%n", ready.getReady());
    var index = timed(inference).repositoryIndex(RepositoryIndexRequest.newBuilder().setReady(true).build());
    for (var model : index.getModelsList()) {
      System.out.printf("index: %s version %s %s%n", model.getName(), model.getVersion(), model.getState());
    }
    var metadata = timed(inference).modelMetadata(ModelMetadataRequest.newBuilder().setName(MODEL).build());
    metadata.getInputsList().forEach(tensor -> printTensor("input", tensor));
    metadata.getOutputsList().forEach(tensor -> printTensor("output", tensor));
  }

  private static void printTensor(String kind, TensorMetadata tensor) {
    String shape = tensor.getShapeList().stream().map(String::valueOf).collect(Collectors.joining(","));
    System.out.printf("%s: %s %s [%s]%n", kind, tensor.getName(), tensor.getDatatype(), shape);
  }

  /** Sends three requests over one stream; the second is wrong, and the stream goes on. */
  private void stream(List<Digit> digits) {
    CompletableFuture<Void> done = new CompletableFuture<>();
    StreamObserver<ModelInferRequest> requests =
        timed(streaming)
            .modelStreamInfer(
                new StreamObserver<>() {
                  @Override
                  public void onNext(ModelStreamInferResponse answer) {
                    printAnswer(answer);
                  }

                  @Override
                  public void onError(Throwable error) {
                    done.completeExceptionally(error);
                  }

                  @Override
                  public void onCompleted() {
                    done.complete(null);
                  }
                });
    for (int number = 1; number <= 3; number++) {
      float[] image = digits.get(number - 1).image();
      float[] pixels = number == 2 ? Arrays.copyOf(image, PIXELS - 1) : image;
      requests.onNext(Tensors.requestOf(MODEL, String.valueOf(number), pixels, 1));
    }
    requests.onCompleted();
    done.join();
  }

  private static void printAnswer(ModelStreamInferResponse answer) {
    ModelInferResponse response = answer.getInferResponse();
    if (answer.getErrorMessage().isEmpty()) {
      System.out.printf("stream: answer %s, label %d%n", response.getId(), Tensors.labelsOf(response)[0]);
      return;
    }
    String code = response.getParametersOrThrow("servemesh_code").getStringParam();
    String reason = response.getParametersOrThrow("servemesh_reason").getStringParam();
    System.out.printf("stream: answer %s, %s %s%n", response.getId(), code, reason);
  }

  /** Sends two calls that are refused: branch on code and reason, never on the text. */
  private void meetErrors() throws InvalidProtocolBufferException {
    List<ModelInferRequest> requests =
        List.of(Tensors.requestOf("nobody", "", new float[PIXELS], 1), Tensors.requestOf(MODEL, "", new float[63], 1));
    for (ModelInferRequest request : requests) {
      try {
        timed(inference).modelInfer(request);
      } catch (StatusRuntimeException error) {
        ErrorInfo info = errorInfo(error);
        String about =
            new TreeMap<>(info.getMetadataMap())
                .entrySet().stream().map(String::valueOf).collect(Collectors.joining(", "));
        System.out.printf(
            "error: %s %s of %s, %s%n", error.getStatus().getCode(), info.getReason(), info.getDomain(), about);
      }
    }
  }

  /** Returns the ErrorInfo in the trailer grpc-status-details-bin; an empty one if the mesh sent none. */
  private static ErrorInfo errorInfo(StatusRuntimeException error) throws InvalidProtocolBufferException {
    for (var detail : StatusProto.fromThrowable(error).getDetailsList()) {
      if (detail.is(ErrorInfo.class)) {
        return detail.unpack(ErrorInfo.class);
      }
    }
    return ErrorInfo.getDefaultInstance();
  }

  /** Watches for longer than the deadline: a watch does not end by itself. */
  private void meetDeadline() {
    try {
      watch(SHORT_MS).forEachRemaining(answer -> {});
    } catch (StatusRuntimeException error) {
      System.out.printf("deadline: %s%n", error.getStatus().getCode());
    }
  }
}
