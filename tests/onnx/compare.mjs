// Runs an exported model in ONNX Runtime on the test data beside it and counts the numbers that differ.
//   node compare.mjs NODE_MODULES_PARENT MODEL.onnx exact|default
// Prints one JSON line; the exit status is 1 when an integer differs.
import { createRequire } from 'node:module';
import fs from 'node:fs';
import path from 'node:path';

const [modules, model, precision] = process.argv.slice(2);
const ort = createRequire(path.resolve(modules, 'x.js'))('onnxruntime-node');

// The fields of a protobuf message as [number, value] pairs: bigints, or bytes.
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return BigInt.asIntN(64, value);
    }
  };
  while (at < bytes.length) {
    const key = Number(varint());
    if ((key & 7) === 0) yield [key >> 3, varint()];
    else if ((key & 7) === 5) { yield [key >> 3, bytes.subarray(at, at + 4)]; at += 4; }
    else { const size = Number(varint()); yield [key >> 3, bytes.subarray(at, at + size)]; at += size; }
  }
}

function readTensor(file) {
  const tensor = { dims: [] };
  for (const [field, value] of fields(fs.readFileSync(file))) {
    if (field === 1) tensor.dims.push(Number(value));
    if (field === 2) tensor.type = Number(value);
    if (field === 8) tensor.name = Buffer.from(value).toString();
    if (field === 9) tensor.raw = Uint8Array.from(value);
  }
  tensor.data = tensor.type === 1 ? new Float32Array(tensor.raw.buffer) : tensor.raw;
  return tensor;
}

// How often each operation stands in a model.
function operations(file) {
  const count = {};
  for (const [field, graph] of fields(fs.readFileSync(file)))
    if (field === 7)
      for (const [part, node] of fields(graph))
        if (part === 1)
          for (const [key, value] of fields(node))
            if (key === 4) { const op = Buffer.from(value).toString(); count[op] = (count[op] ?? 0) + 1; }
  return count;
}

const optimized = path.join(path.dirname(model), `optimized-${precision}.onnx`);
const session = await ort.InferenceSession.create(model, {
  executionProviders: ['cpu'], graphOptimizationLevel: 'all', intraOpNumThreads: 1, logSeverityLevel: 3,
  optimizedModelFilePath: optimized,
  extra: precision === 'exact' ? { session: { x64quantprecision: '1' } } : {} });

let largest_output = 0;
const result = { model: path.basename(path.dirname(model)), precision, images: 0, tensors: 0, integers: 0, differing: 0,
  largest: 0, first: null, outputs_differing: 0, output_error: 0 };
for (let set = 0; ; ++set) {
  const folder = path.join(path.dirname(model), `test_data_set_${set}`);
  if (!fs.existsSync(folder)) break;
  const input = readTensor(path.join(folder, 'input_0.pb'));
  result.images += input.dims[0];
  const outputs = await session.run({ input: new ort.Tensor('float32', input.data, input.dims) });
  const files = fs.readdirSync(folder).filter(f => f.startsWith('output_'))
    .sort((a, b) => parseInt(a.slice(7)) - parseInt(b.slice(7)));
  result.tensors = files.length - 1;
  for (const file of files) {
    const expected = readTensor(path.join(folder, file)), actual = outputs[expected.name];
    if (!actual || actual.data.length !== expected.data.length) throw new Error(`${expected.name}: another shape`);
    for (let i = 0; i < actual.data.length; ++i) {
      const error = Math.abs(actual.data[i] - expected.data[i]);
      if (expected.type === 1) {
        result.outputs_differing += !(error === 0);
        largest_output = Math.max(largest_output, Math.abs(expected.data[i]));
        result.output_error = Math.max(result.output_error, error);
      } else if (error !== 0) {
        ++result.differing;
        result.first ??= expected.name;
        result.largest = Math.max(result.largest, error);
      }
    }
    if (expected.type !== 1) result.integers += expected.data.length;
  }
}
result.operations = operations(optimized);
fs.rmSync(optimized);
console.log(JSON.stringify(result));
// Outputs in the thousands have no thousandths in float32.
const accepted = Math.max(1e-3, 1e-6 * largest_output);
process.exit(result.images > 0 && result.differing === 0 && result.output_error < accepted ? 0 : 1);
