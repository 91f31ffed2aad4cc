# frozen_string_literal: true

# Every call that a service makes to the mesh, with stubs generated from protos/.
#
# ruby client.rb ADDRESS DIGITS: DIGITS is a file with a digit in each line, its label and then 64 shades of grey.

require 'csv'
require 'google/protobuf/well_known_types'
require 'google/rpc/error_details_pb'
require 'grpc'
require 'grpc/health/v1/health_services_pb'
require 'servemesh/api/oip/v2/inference_services_pb'
require 'servemesh/api/registry/v1/registry_services_pb'

Registry = Servemesh::Api::Registry::V1
Health = Grpc::Health::V1
Digit = Struct.new(:label, :image)

# One conversation with the mesh at an address.
class Client
  MODEL = 'digits'
  PIXELS = 64
  CALL_S = 10
  READY_S = 60
  SHORT_S = 0.5
  MESSAGE_BYTES_MAX = 64 << 20 # what the mesh takes; gRPC alone would receive 4 MiB
  CODES = GRPC::Core::StatusCodes.constants.to_h { |name| [GRPC::Core::StatusCodes.const_get(name), name] }

  def initialize(address)
    arguments = { 'grpc.max_receive_message_length' => MESSAGE_BYTES_MAX }
    options = { channel_args: arguments, timeout: CALL_S } # a deadline for each call that sets none
    @inference = Inference::GRPCInferenceService::Stub.new(address, :this_channel_is_insecure, **options)
    @models = Registry::RegistryService::Stub.new(address, :this_channel_is_insecure, **options)
    @health = Health::Health::Stub.new(address, :this_channel_is_insecure, **options)
  end

  def run(digits)
    print_health
    print_models
    created = deploy
    watch_until_ready
    infer(digits)
    print_served
    stream(digits)
    meet_errors
    meet_deadline
    undeploy if created
  end

  private

  # Asks in both ways whether the mesh takes calls: Kubernetes and load balancers use the second.
  def print_health
    puts "live: #{@inference.server_live(Inference::ServerLiveRequest.new).live}"
    puts "ready: #{@inference.server_ready(Inference::ServerReadyRequest.new).ready}"
    puts "health: #{@health.check(Health::HealthCheckRequest.new).status}"
  end

  # Lists what the registry has, page by page.
  def print_models
    token = ''
    loop do
      page = @models.list_models(Registry::ListModelsRequest.new(page_token: token))
      page.models.each { |model| puts "model: #{model.name}, newest version #{model.latest_version_id}" }
      token = page.next_page_token
      break if token.empty?
    end
  end

  # Asks that the model be served; false if it is already.
  def deploy
    wish = Registry::Deployment.new(model: "models/#{MODEL}", replicas: 1)
    @models.create_deployment(Registry::CreateDeploymentRequest.new(deployment: wish))
    true
  rescue GRPC::AlreadyExists
    false
  end

  def undeploy
    @models.delete_deployment(Registry::DeleteDeploymentRequest.new(name: "deployments/#{MODEL}"))
    puts "deployment: deployments/#{MODEL} deleted"
  end

  # The answers of a watch, and the call itself, by which it can be left.
  def watch(timeout_s)
    request = Registry::WatchDeploymentRequest.new(name: "deployments/#{MODEL}")
    call = @models.watch_deployment(request, deadline: Time.now + timeout_s, return_op: true)
    [call.execute, call]
  end

  # Follows the Deployment until as many workers hold it as were asked for.
  def watch_until_ready
    answers, call = watch(READY_S)
    found = answers.lazy.map(&:deployment).find { |deployment| deployment.state != :STATE_PENDING }
    call.cancel
    raise "#{found.name} cannot be served: #{found.reason} #{found.message}" if found.state == :STATE_FAILED

    puts "deployment: #{found.name} READY, #{found.ready_replicas} of #{found.replicas} replicas"
  end

  # Classifies all digits in one call.
  def infer(digits)
    answer = @inference.model_infer(request_of(digits.flat_map(&:image), [digits.size, PIXELS]))
    labels = labels_of(answer)
    right = digits.zip(labels).count { |digit, label| digit.label == label }
    puts "infer: version #{answer.model_version}, labels #{labels.join(' ')}, #{right} of #{digits.size} right"
    probabilities = raw_output(answer, 'probabilities').unpack('e*')
    puts format('probability of the first: %.4f', probabilities[labels.first])
  end

  # A request with raw contents: row-major, little-endian.
  def request_of(pixels, shape, model: MODEL, id: '')
    tensor = Inference::ModelInferRequest::InferInputTensor.new(name: 'image', datatype: 'FP32', shape: shape)
    raw = pixels.pack('e*')
    Inference::ModelInferRequest.new(model_name: model, id: id, inputs: [tensor], raw_input_contents: [raw])
  end

  # The bytes of one output: they lie in the order of the outputs.
  def raw_output(answer, name)
    answer.raw_output_contents[answer.outputs.find_index { |output| output.name == name }]
  end

  # The INT64 output `label`.
  def labels_of(answer)
    raw_output(answer, 'label').unpack('q<*')
  end

  # Tells what OIP says of the model that is served.
  def print_served
    puts "model ready: #{@inference.model_ready(Inference::ModelReadyRequest.new(name: MODEL)).ready}"
    index = @inference.repository_index(Inference::RepositoryIndexRequest.new(ready: true))
    index.models.each { |model| puts "index: #{model.name} version #{model.version} #{model.state}" }
    metadata = @inference.model_metadata(Inference::ModelMetadataRequest.new(name: MODEL))
    { 'input' => metadata.inputs, 'output' => metadata.outputs }.each do |kind, tensors|
      tensors.each { |tensor| puts "#{kind}: #{tensor.name} #{tensor.datatype} [#{tensor.shape.to_a.join(',')}]" }
    end
  end

  # Sends three requests over one stream; the second is wrong, and the stream goes on.
  def stream(digits)
    requests = digits.first(3).each.with_index(1).lazy.map do |digit, number|
      pixels = number == 2 ? digit.image[0...-1] : digit.image
      request_of(pixels, [1, pixels.size], id: number.to_s)
    end
    @inference.model_stream_infer(requests).each do |answer|
      response = answer.infer_response
      puts "stream: answer #{response.id}, #{answer.error_message.empty? ? label_in(response) : refusal_in(response)}"
    end
  end

  def label_in(response)
    "label #{labels_of(response).first}"
  end

  def refusal_in(response)
    %w[servemesh_code servemesh_reason].map { |key| response.parameters[key].string_param }.join(' ')
  end

  # Sends two calls that are refused: branch on code and reason, never on the text.
  def meet_errors
    [request_of([0.0] * PIXELS, [1, PIXELS], model: 'nobody'), request_of([0.0] * 63, [1, 63])].each do |request|
      @inference.model_infer(request)
    rescue GRPC::BadStatus => e
      info = error_info(e)
      about = info.metadata.to_h.sort.map { |key, value| "#{key}=#{value}" }
      puts "error: #{CODES[e.code]} #{info.reason} of #{info.domain}, #{about.join(', ')}"
    end
  end

  # The ErrorInfo in the trailer grpc-status-details-bin; an empty one if the mesh sent none.
  def error_info(error)
    details = error.to_rpc_status&.details.to_a
    detail = details.find { |found| found.is(Google::Rpc::ErrorInfo) }
    detail ? detail.unpack(Google::Rpc::ErrorInfo) : Google::Rpc::ErrorInfo.new
  end

  # Watches for longer than the deadline: a watch does not end by itself.
  def meet_deadline
    answers, = watch(SHORT_S)
    answers.each { |answer| answer } # until the deadline
  rescue GRPC::BadStatus => e
    puts "deadline: #{CODES[e.code]}"
  end
end

digits = CSV.read(ARGV[1], converters: :integer).map { |label, *shades| Digit.new(label, shades.map(&:to_f)) }
Client.new(ARGV[0]).run(digits)
