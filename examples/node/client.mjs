// Every call that a service makes to the mesh, with stubs made from protos/ when the program starts.
//
// node client.mjs ADDRESS DIGITS: DIGITS is a file with a digit in each line, its label and then 64 shades of grey.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';

const MODEL = 'digits';
const PIXELS = 64;
const CALL_MS = 10_000;
const READY_MS = 60_000;
const SHORT_MS = 500;
const MESSAGE_BYTES_MAX = 64 << 20; // what the mesh takes; grpc-js alone would receive 4 MiB

const definition = protoLoader.loadSync(
  [
    'servemesh/api/oip/v2/inference.proto',
    'servemesh/api/registry/v1/registry.proto',
    'grpc/health/v1/health.proto',
    'google/rpc/status.proto',
    'google/rpc/error_info.proto',
  ],
  {
    includeDirs: ['../../protos', '../protos'].map((folder) => fileURLToPath(new URL(folder, import.meta.url))),
    longs: Number,
    enums: String,
    defaults: true,
  },
);
const packages = grpc.loadPackageDefinition(definition);
const StatusProto = definition['google.rpc.Status'];
const ErrorInfo = definition['google.rpc.ErrorInfo'];

async function main(address, path) {
  const digits = readDigits(path);
  const options = { 'grpc.max_receive_message_length': MESSAGE_BYTES_MAX };
  const connect = (Service) => new Service(address, grpc.credentials.createInsecure(), options);
  const inference = connect(packages.inference.GRPCInferenceService);
  const models = connect(packages.servemesh.api.registry.v1.RegistryService);
  const health = connect(packages.grpc.health.v1.Health);

  await printHealth(inference, health);
  await printModels(models);
  const created = await deploy(models);
  await watchUntilReady(models);
  await infer(inference, digits);
  await printServed(inference);
  await stream(inference, digits);
  await meetErrors(inference);
  await meetDeadline(models);
  if (created) {
    await unary(models, 'deleteDeployment', { name: `deployments/${MODEL}` });
    console.log(`deployment: deployments/${MODEL} deleted`);
  }
  for (const client of [inference, models, health]) client.close();
}

function readDigits(path) {
  const lines = readFileSync(path, 'utf8').trim().split('\n');
  return lines.map((line) => {
    const [label, ...image] = line.split(',').map(Number);
    return { label, image };
  });
}

const within = (ms) => ({ deadline: Date.now() + ms });

// One message out, one back, as a promise.
const unary = (client, method, request) => promisify(client[method]).call(client, request, within(CALL_MS));

// Asks in both ways whether the mesh takes calls: Kubernetes and load balancers use the second.
async function printHealth(inference, health) {
  console.log(`live: ${(await unary(inference, 'serverLive', {})).live}`);
  console.log(`ready: ${(await unary(inference, 'serverReady', {})).ready}`);
  console.log(`health: ${(await unary(health, 'check', {})).status}`);
}

// Lists what the registry has, page by page.
async function printModels(models) {
  let pageToken = '';
  do {
    const page = await unary(models, 'listModels', { pageToken });
    for (const model of page.models) {
      console.log(`model: ${model.name}, newest version ${model.latestVersionId}`);
    }
    pageToken = page.nextPageToken;
  } while (pageToken);
}

// Asks that the model be served; false if it is already.
async function deploy(models) {
  try {
    await unary(models, 'createDeployment', { deployment: { model: `models/${MODEL}`, replicas: 1 } });
    return true;
  } catch (error) {
    if (error.code !== grpc.status.ALREADY_EXISTS) throw error;
    return false;
  }
}

// Follows the Deployment until as many workers hold it as were asked for.
async function watchUntilReady(models) {
  const watch = models.watchDeployment({ name: `deployments/${MODEL}` }, within(READY_MS));
  for await (const { deployment } of watch) {
    if (deployment.state === 'STATE_FAILED') {
      throw new Error(`${deployment.name} cannot be served: ${deployment.reason} ${deployment.message}`);
    }
    if (deployment.state === 'STATE_READY') {
      const { name, readyReplicas, replicas } = deployment;
      console.log(`deployment: ${name} READY, ${readyReplicas} of ${replicas} replicas`);
      break;
    }
  }
  watch.cancel();
}

// Classifies all digits in one call.
async function infer(inference, digits) {
  const pixels = digits.flatMap(({ image }) => image);
  const answer = await unary(inference, 'modelInfer', requestOf(pixels, [digits.length, PIXELS]));
  const labels = labelsOf(answer);
  const right = digits.filter(({ label }, row) => label === labels[row]).length;
  console.log(
    `infer: version ${answer.modelVersion}, labels ${labels.join(' ')}, ${right} of ${digits.length} right`,
  );
  const probability = rawOutput(answer, 'probabilities').readFloatLE(4 * labels[0]);
  console.log(`probability of the first: ${probability.toFixed(4)}`);
}

// A request with raw contents: row-major, little-endian.
function requestOf(pixels, shape, { model = MODEL, id = '' } = {}) {
  const raw = Buffer.alloc(4 * pixels.length);
  pixels.forEach((shade, position) => raw.writeFloatLE(shade, 4 * position));
  const inputs = [{ name: 'image', datatype: 'FP32', shape }];
  return { modelName: model, id, inputs, rawInputContents: [raw] };
}

// The bytes of one output: they lie in the order of the outputs.
function rawOutput(answer, name) {
  return answer.rawOutputContents[answer.outputs.findIndex((output) => output.name === name)];
}

// The INT64 output `label`.
function labelsOf(answer) {
  const raw = rawOutput(answer, 'label');
  return Array.from({ length: raw.length / 8 }, (_, row) => Number(raw.readBigInt64LE(8 * row)));
}

// Tells what OIP says of the model that is served.
async function printServed(inference) {
  console.log(`model ready: ${(await unary(inference, 'modelReady', { name: MODEL })).ready}`);
  const index = await unary(inference, 'repositoryIndex', { ready: true });
  for (const { name, version, state } of index.models) console.log(`index: ${name} version ${version} ${state}`);
  const metadata = await unary(inference, 'modelMetadata', { name: MODEL });
  for (const kind of ['input', 'output']) {
    for (const { name, datatype, shape } of metadata[`${kind}s`]) {
      console.log(`${kind}: ${name} ${datatype} [${shape.join(',')}]`);
    }
  }
}

// Sends three requests over one stream; the second is wrong, and the stream goes on.
async function stream(inference, digits) {
  const call = inference.modelStreamInfer(within(CALL_MS));
  digits.slice(0, 3).forEach(({ image }, position) => {
    const pixels = position === 1 ? image.slice(0, -1) : image;
    call.write(requestOf(pixels, [1, pixels.length], { id: String(position + 1) }));
  });
  call.end();
  for await (const { errorMessage, inferResponse: response } of call) {
    if (errorMessage) {
      const { servemesh_code: code, servemesh_reason: reason } = response.parameters;
      console.log(`stream: answer ${response.id}, ${code.stringParam} ${reason.stringParam}`);
    } else {
      console.log(`stream: answer ${response.id}, label ${labelsOf(response)[0]}`);
    }
  }
}

// Sends two calls that are refused: branch on code and reason, never on the text.
async function meetErrors(inference) {
  const requests = [
    requestOf(Array(PIXELS).fill(0), [1, PIXELS], { model: 'nobody' }),
    requestOf(Array(63).fill(0), [1, 63]),
  ];
  for (const request of requests) {
    try {
      await unary(inference, 'modelInfer', request);
    } catch (error) {
      const { reason, domain, metadata } = errorInfo(error);
      const about = Object.keys(metadata).sort().map((key) => `${key}=${metadata[key]}`);
      console.log(`error: ${grpc.status[error.code]} ${reason} of ${domain}, ${about.join(', ')}`);
    }
  }
}

// The ErrorInfo in the trailer grpc-status-details-bin; an empty one if the mesh sent none.
function errorInfo(error) {
  for (const trailer of error.metadata.get('grpc-status-details-bin')) {
    for (const { type_url: type, value } of StatusProto.deserialize(trailer).details) {
      if (type.endsWith('/google.rpc.ErrorInfo')) return ErrorInfo.deserialize(value);
    }
  }
  return { reason: '', domain: '', metadata: {} };
}

// Watches for longer than the deadline: a watch does not end by itself.
async function meetDeadline(models) {
  try {
    for await (const _ of models.watchDeployment({ name: `deployments/${MODEL}` }, within(SHORT_MS)));
  } catch (error) {
    console.log(`deadline: ${grpc.status[error.code]}`);
  }
}

await main(...process.argv.slice(2));
