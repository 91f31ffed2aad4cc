// Every call that a service makes to the mesh, with stubs generated from protos/.
//
// client ADDRESS DIGITS: DIGITS is a file with a digit in each line, its label and then 64 shades of grey.
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdint>
#include <iomanip>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "google/rpc/error_info.pb.h"
#include "google/rpc/status.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "servemesh/api/oip/v2/inference.grpc.pb.h"
#include "servemesh/api/registry/v1/registry.grpc.pb.h"
#include "tensors.h"

namespace oip = inference;
namespace registry = servemesh::api::registry::v1;
namespace health = grpc::health::v1;
using namespace std::chrono_literals;
using Inference = oip::GRPCInferenceService::Stub;
using Models = registry::RegistryService::Stub;

namespace {

const std::string kModel = "digits";
constexpr int64_t kPixels = 64;
constexpr auto kCall = 10s;
constexpr auto kReady = 60s;
constexpr auto kShort = 500ms;
constexpr int kMessageBytesMax = 64 << 20;  // what the mesh takes; gRPC alone would receive 4 MiB

// A context with a deadline. Each call needs one of its own.
struct Context : grpc::ClientContext {
  explicit Context(std::chrono::milliseconds timeout = kCall) {
    set_deadline(std::chrono::system_clock::now() + timeout);
  }
};

const char* CodeName(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::OK: return "OK";
    case grpc::StatusCode::INVALID_ARGUMENT: return "INVALID_ARGUMENT";
    case grpc::StatusCode::NOT_FOUND: return "NOT_FOUND";
    case grpc::StatusCode::DEADLINE_EXCEEDED: return "DEADLINE_EXCEEDED";
    case grpc::StatusCode::UNAVAILABLE: return "UNAVAILABLE";
    default: return "another code";
  }
}

void Check(const grpc::Status& status) {
  if (!status.ok()) throw std::runtime_error(std::string(CodeName(status.error_code())) + ": " + status.error_message());
}

// Asks in both ways whether the mesh takes calls: Kubernetes and load balancers use the second.
void PrintHealth(Inference& inference, health::Health::Stub& checker) {
  Context live_context, ready_context, health_context;
  oip::ServerLiveResponse live;
  Check(inference.ServerLive(&live_context, {}, &live));
  oip::ServerReadyResponse ready;
  Check(inference.ServerReady(&ready_context, {}, &ready));
  health::HealthCheckResponse answer;
  Check(checker.Check(&health_context, {}, &answer));
  std::cout << "live: " << live.live() << "\nready: " << ready.ready()
            << "\nhealth: " << health::HealthCheckResponse::ServingStatus_Name(answer.status()) << "\n";
}

// Lists what the registry has, page by page.
void PrintModels(Models& models) {
  registry::ListModelsRequest request;
  do {
    Context context;
    registry::ListModelsResponse page;
    Check(models.ListModels(&context, request, &page));
    for (const auto& model : page.models()) {
      std::cout << "model: " << model.name() << ", newest version " << model.latest_version_id() << "\n";
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
}

// Asks that the model be served; false if it is already.
bool Deploy(Models& models) {
  Context context;
  registry::CreateDeploymentRequest request;
  request.mutable_deployment()->set_model("models/" + kModel);
  request.mutable_deployment()->set_replicas(1);
  registry::CreateDeploymentResponse response;
  const grpc::Status status = models.CreateDeployment(&context, request, &response);
  if (status.error_code() == grpc::StatusCode::ALREADY_EXISTS) return false;
  Check(status);
  return true;
}

// Follows the Deployment until as many workers hold it as were asked for.
void WatchUntilReady(Models& models) {
  Context context(kReady);
  registry::WatchDeploymentRequest request;
  request.set_name("deployments/" + kModel);
  const auto watch = models.WatchDeployment(&context, request);
  for (registry::WatchDeploymentResponse answer; watch->Read(&answer);) {
    const auto& found = answer.deployment();
    if (found.state() == registry::Deployment::STATE_FAILED) {
      throw std::runtime_error(found.name() + " cannot be served: " + found.reason() + " " + found.message());
    }
    if (found.state() == registry::Deployment::STATE_READY) {
      std::cout << "deployment: " << found.name() << " READY, " << found.ready_replicas() << " of "
                << found.replicas() << " replicas\n";
      context.TryCancel();
      watch->Finish();
      return;
    }
  }
  Check(watch->Finish());
}

void Undeploy(Models& models) {
  Context context;
  registry::DeleteDeploymentRequest request;
  request.set_name("deployments/" + kModel);
  registry::DeleteDeploymentResponse response;
  Check(models.DeleteDeployment(&context, request, &response));
  std::cout << "deployment: " << request.name() << " deleted\n";
}

// Classifies all digits in one call.
void Infer(Inference& inference, const std::vector<Digit>& digits) {
  std::vector<float> pixels;
  for (const Digit& digit : digits) pixels.insert(pixels.end(), digit.image.begin(), digit.image.end());
  Context context;
  oip::ModelInferResponse answer;
  Check(inference.ModelInfer(&context, RequestOf(kModel, pixels, static_cast<int64_t>(digits.size())), &answer));
  const auto labels = Output<int64_t>(answer, "label");
  const auto probabilities = Output<float>(answer, "probabilities");
  int right = 0;
  std::cout << "infer: version " << answer.model_version() << ", labels ";
  for (size_t row = 0; row < labels.size(); ++row) {
    std::cout << (row ? " " : "") << labels[row];
    right += labels[row] == digits[row].label;
  }
  std::cout << ", " << right << " of " << digits.size() << " right\n";
  std::cout << "probability of the first: " << std::fixed << std::setprecision(4) << probabilities[labels[0]] << "\n";
}

template <typename Tensors>
void PrintTensors(const char* kind, const Tensors& tensors) {
  for (const auto& tensor : tensors) {
    std::cout << kind << ": " << tensor.name() << " " << tensor.datatype() << " [";
    for (int axis = 0; axis < tensor.shape_size(); ++axis) std::cout << (axis ? "," : "") << tensor.shape(axis);
    std::cout << "]\n";
  }
}

// Tells what OIP says of the model that is served.
void PrintServed(Inference& inference) {
  Context ready_context, index_context, metadata_context;
  oip::ModelReadyRequest ready_request;
  ready_request.set_name(kModel);
  oip::ModelReadyResponse ready;
  Check(inference.ModelReady(&ready_context, ready_request, &ready));
  std::cout << "model ready: " << ready.ready() << "\n";
  oip::RepositoryIndexRequest index_request;
  index_request.set_ready(true);
  oip::RepositoryIndexResponse index;
  Check(inference.RepositoryIndex(&index_context, index_request, &index));
  for (const auto& model : index.models()) {
    std::cout << "index: " << model.name() << " version " << model.version() << " " << model.state() << "\n";
  }
  oip::ModelMetadataRequest metadata_request;
  metadata_request.set_name(kModel);
  oip::ModelMetadataResponse metadata;
  Check(inference.ModelMetadata(&metadata_context, metadata_request, &metadata));
  PrintTensors("input", metadata.inputs());
  PrintTensors("output", metadata.outputs());
}

// Sends three requests over one stream; the second is wrong, and the stream goes on.
void Stream(Inference& inference, const std::vector<Digit>& digits) {
  Context context;
  const auto stream = inference.ModelStreamInfer(&context);
  for (int number = 1; number <= 3; ++number) {
    std::vector<float> image = digits[number - 1].image;
    if (number == 2) image.pop_back();
    oip::ModelInferRequest request = RequestOf(kModel, image, 1);
    request.set_id(std::to_string(number));
    stream->Write(request);
  }
  stream->WritesDone();
  for (oip::ModelStreamInferResponse answer; stream->Read(&answer);) {
    const auto& response = answer.infer_response();
    std::cout << "stream: answer " << response.id() << ", ";
    if (answer.error_message().empty()) {
      std::cout << "label " << Output<int64_t>(response, "label")[0] << "\n";
    } else {
      std::cout << response.parameters().at("servemesh_code").string_param() << " "
                << response.parameters().at("servemesh_reason").string_param() << "\n";
    }
  }
  Check(stream->Finish());
}

// The ErrorInfo in the trailer grpc-status-details-bin; an empty one if the mesh sent none.
google::rpc::ErrorInfo ErrorInfoOf(const grpc::Status& status) {
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  details.ParseFromString(status.error_details());
  for (const auto& detail : details.details()) {
    if (detail.UnpackTo(&info)) break;
  }
  return info;
}

// Sends two calls that are refused: branch on code and reason, never on the text.
void MeetErrors(Inference& inference) {
  for (const auto& request : {RequestOf("nobody", std::vector<float>(kPixels), 1), RequestOf(kModel, std::vector<float>(63), 1)}) {
    Context context;
    oip::ModelInferResponse answer;
    const grpc::Status status = inference.ModelInfer(&context, request, &answer);
    const google::rpc::ErrorInfo info = ErrorInfoOf(status);
    std::cout << "error: " << CodeName(status.error_code()) << " " << info.reason() << " of " << info.domain();
    const std::map<std::string, std::string> about(info.metadata().begin(), info.metadata().end());
    for (const auto& [key, value] : about) std::cout << ", " << key << "=" << value;
    std::cout << "\n";
  }
}

// Watches for longer than the deadline: a watch does not end by itself.
void MeetDeadline(Models& models) {
  Context context(kShort);
  registry::WatchDeploymentRequest request;
  request.set_name("deployments/" + kModel);
  const auto watch = models.WatchDeployment(&context, request);
  for (registry::WatchDeploymentResponse answer; watch->Read(&answer);) continue;
  std::cout << "deadline: " << CodeName(watch->Finish().error_code()) << "\n";
}

void Run(const std::string& address, const std::string& path) {
  const std::vector<Digit> digits = ReadDigits(path);
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  const auto channel = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  const auto inference = oip::GRPCInferenceService::NewStub(channel);
  const auto models = registry::RegistryService::NewStub(channel);
  const auto checker = health::Health::NewStub(channel);

  std::cout << std::boolalpha;
  PrintHealth(*inference, *checker);
  PrintModels(*models);
  const bool created = Deploy(*models);
  WatchUntilReady(*models);
  Infer(*inference, digits);
  PrintServed(*inference);
  Stream(*inference, digits);
  MeetErrors(*inference);
  MeetDeadline(*models);
  if (created) Undeploy(*models);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) {
    std::cerr << "usage: client ADDRESS DIGITS\n";
    return 64;
  }
  try {
    Run(arguments[1], arguments[2]);
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
