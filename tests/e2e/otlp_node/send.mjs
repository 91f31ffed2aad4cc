// Measures with OpenTelemetry's own SDK for Node, exports to process.argv[2] over OTLP/gRPC, and says what became of it.
import { CompressionAlgorithm } from '@opentelemetry/otlp-exporter-base';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-grpc';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-grpc';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { AggregationType, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { TracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace';
import { SpanStatusCode } from '@opentelemetry/api';

const [url, compression] = process.argv.slice(2);
const target = { url, compression: compression === 'gzip' ? CompressionAlgorithm.GZIP : CompressionAlgorithm.NONE };
const resource = resourceFromAttributes({ 'service.name': 'shop', 'service.instance.id': `node-${compression}` });

const reader = new PeriodicExportingMetricReader({
  exporter: new OTLPMetricExporter(target),
  exportIntervalMillis: 60_000,
});
const meters = new MeterProvider({
  resource,
  readers: [reader],
  views: [{ instrumentName: 'shop.exponential', aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM } }],
});
const meter = meters.getMeter('shop');
const orders = meter.createCounter('shop.orders', { unit: '{order}' });
const basket = meter.createUpDownCounter('shop.baskets');
const explicit = meter.createHistogram('shop.explicit', { unit: 's', advice: { explicitBucketBoundaries: [0.1, 0.5, 1, 5] } });
const exponential = meter.createHistogram('shop.exponential', { unit: 's' });
for (let number = 1; number <= 100; number += 1) {
  orders.add(1, { model: number % 2 ? 'odd' : 'even', customer: 'anna@example.org' });
  basket.add(number % 3 === 0 ? -1 : 1);
  explicit.record(number / 100, { model: 'm' });
  exponential.record(number / 100, { model: 'm' });
}
await meters.forceFlush();
orders.add(11, { model: 'odd' });
await meters.forceFlush();

const tracers = new TracerProvider({ resource, spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter(target) })] });
const span = tracers.getTracer('shop').startSpan('checkout');
span.setStatus({ code: SpanStatusCode.ERROR, message: 'card refused' });
span.end();
await tracers.forceFlush();
process.stdout.write(`${span.spanContext().traceId}\n`);
await Promise.all([meters.shutdown(), tracers.shutdown()]);
